// Runs in OHIF, after its configuration. `window.activefreq` is set by the server: {label, submit}.
(() => {
  'use strict';

  // The MONAI Label panel asks port 8000 of this host, or whatever server the cookie of another one says.
  document.cookie = `MONAILABEL_SERVER_URL=${escape(location.origin + '/')}`;

  if (!location.pathname.endsWith('/monai-label')) return;

  const SEGMENTATION = '1'; // the panel's
  const ALIGNED = 0.999; // cosine of the largest angle to an anatomical axis that is not called oblique

  const negated = vector => vector.map(value => -value);
  const largest = vector => vector.map(Math.abs).reduce((best, size, axis, all) => (size > all[best] ? axis : best), 0);

  /**
   * Turns a viewport onto the acquired slices if its plane is the nearest to them. Clicks and masks belong to acquired
   * slices; the anatomical planes would cut those of an oblique series into bands.
   */
  const showAcquiredSlices = viewport => {
    if (!viewport?.setOrientation || !viewport.getImageData()) return;
    const direction = Array.from(viewport.getImageData().imageData.getDirection());
    const [down, through] = [direction.slice(3, 6), direction.slice(6, 9)];
    const axis = largest(through);
    const oblique = Math.abs(through[axis]) < ALIGNED;
    if (oblique && largest(viewport.getCamera().viewPlaneNormal) === axis) {
      // Without this, resetting the camera, which setting an orientation does, brings the named plane back.
      viewport.viewportProperties.orientation = undefined;
      viewport.setOrientation({ viewPlaneNormal: negated(through), viewUp: negated(down) });
    }
  };

  /**
   * Makes the panel ask for the next sample by the strategy that was chosen in it: its build forgot to listen, and asks for
   * "random" whatever is chosen. Climbs from the list to the panel's component, which keeps the strategy in its state.
   */
  const takeStrategy = list => {
    let fiber = list[Object.keys(list).find(key => /^__react(Fiber|InternalInstance)\$/.test(key))];
    while (fiber && fiber.stateNode?.state?.strategy === undefined) fiber = fiber.return;
    fiber?.stateNode.setState({ strategy: list.value });
  };
  document.addEventListener('change', ({ target }) => {
    if (target.matches('.monaiLabelPanel select.actionInput')) takeStrategy(target);
  });

  /** The mask that is shown: {series, voxels}, a byte for each voxel. Throws an Error that says what is missing. */
  const shownMask = () => {
    const { displaySetService, segmentationService, viewportGridService } = window.services ?? {};
    const segmentation = segmentationService?.getSegmentation(SEGMENTATION);
    const volume = segmentation && segmentationService.getLabelmapVolume(SEGMENTATION);
    if (!volume) throw new Error('connect to the server in the MONAI Label panel first');
    const segment = Object.values(segmentation.segments).find(s => s.label === window.activefreq.label);
    const values = volume.voxelManager.getCompleteScalarDataArray();
    const voxels = new Uint8Array(values.length);
    for (let i = 0; segment && i < values.length; i++) voxels[i] = values[i] === segment.segmentIndex ? 1 : 0;
    if (!voxels.includes(1)) throw new Error(`there is no ${window.activefreq.label} in the image`);
    const { viewports, activeViewportId } = viewportGridService.getState();
    const [displaySet] = viewports.get(activeViewportId).displaySetInstanceUIDs;
    return { series: displaySetService.getDisplaySetByUID(displaySet).SeriesInstanceUID, voxels };
  };

  const submit = async () => {
    const { series, voxels } = shownMask();
    const address = `${window.activefreq.submit}?image=${encodeURIComponent(series)}`;
    const response = await fetch(address, { method: 'PUT', body: voxels });
    if (response.ok) return;
    const text = await response.text();
    let reason = text;
    try {
      reason = JSON.parse(text).detail;
    } catch {
      // Not JSON: a proxy's page, or a bare error.
    }
    throw new Error(typeof reason === 'string' ? reason : text);
  };

  const button = document.createElement('button');
  button.id = 'activefreq-submit';
  button.textContent = 'Submit mask';
  button.title = `Saves the ${window.activefreq.label} that is shown as the final label of this image`;
  button.style.cssText =
    'position:fixed;right:170px;top:8px;z-index:50;padding:6px 14px;border-radius:8px;' +
    'background:#0088b3;color:#fff;font:600 14px Inter,sans-serif';
  button.addEventListener('click', async () => {
    const tell = (type, message) =>
      window.services?.uiNotificationService?.show({ title: 'Submit mask', message, type, duration: 5000 });
    button.disabled = true;
    delete button.dataset.outcome;
    try {
      await submit();
      button.dataset.outcome = 'saved';
      tell('success', 'Saved as the final label of this image');
    } catch (error) {
      button.dataset.outcome = `failed: ${error.message}`;
      tell('error', `Not saved: ${error.message}`);
    } finally {
      button.disabled = false;
    }
  });
  document.addEventListener('DOMContentLoaded', () => document.body.append(button));

  const waiting = setInterval(() => {
    const service = window.services?.cornerstoneViewportService;
    if (!service) return;
    clearInterval(waiting);
    service.subscribe(service.EVENTS.VIEWPORT_VOLUMES_CHANGED, ({ viewportInfo }) =>
      showAcquiredSlices(service.getCornerstoneViewport(viewportInfo.getViewportId()))
    );
  }, 100);
})();
