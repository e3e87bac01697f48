"""The referee: scripted annotators click through images with known masks, and what it took is measured."""
