"""What is to be evaluated: policies, users and the rules, each with a key under which results are kept."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

from activefreq.acselect.policies import AcSelectConfig, Policy, make_policy
from activefreq.acselect.scores import ScoreConfig
from activefreq.errors import InputError
from activefreq.evaluation.program import program_digest
from activefreq.evaluation.rollout import RolloutConfig
from activefreq.evaluation.users import USERS, HumanConfig, HumanUser


@dataclass(frozen=True)
class PolicySpec:
    """A policy with its options, under the name that tables give it."""

    label: str
    name: str
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        make_policy(self.name, **self.options)

    @property
    def acselect(self) -> AcSelectConfig | None:
        """What the policy ranks by if it is an AcSelect."""
        return AcSelectConfig(**self.options) if self.name == "acselect" else None

    def __reduce__(self) -> tuple[Any, ...]:
        return PolicySpec, (self.label, self.name, dict(self.options))


def seed_of(image: str) -> int:
    """Of everything random about an image: its name's, so that neither order nor number of the others matters."""
    return zlib.crc32(image.encode("utf-8", "surrogateescape"))


@dataclass(frozen=True)
class Entrant:
    """A policy as one user follows it.

    Attributes:
        label: Unique within a plan, such as "acselect", or "acselect (human)".
        key: Changes with any setting that could change a result.
    """

    label: str
    policy: PolicySpec
    user: str
    key: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that decides the results of an evaluation, given the backend and the images.

    Attributes:
        policies: At least one; labels differ.
        users: Of `USERS`, each policy is followed by all of them.
        thresholds: IoU levels in (0, 1] for NoC, ascending.
        rollout: See `RolloutConfig`.
        human: See `HumanConfig`.
        seed: Of everything random. Every image has a stream of its own, so the order of images does not
            matter.
        backend: What identifies the backend (such as the hash of a checkpoint) and the images, for
            `Entrant.key`.
        program: What identifies the code, for `Entrant.key`: results of another one are not this one's.
        notes: What else should stand in the summary.
    """

    policies: tuple[PolicySpec, ...]
    users: tuple[str, ...] = ("ideal",)
    thresholds: tuple[float, ...] = (0.80, 0.85, 0.90)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    human: HumanConfig = field(default_factory=HumanConfig)
    seed: int = 0
    backend: Mapping[str, Any] = field(default_factory=dict)
    program: str = field(default_factory=program_digest)
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.policies or not self.thresholds:
            raise InputError("an evaluation needs a policy and an IoU threshold")
        for threshold in self.thresholds:
            if not 0 < threshold <= 1:
                raise InputError(f"IoU thresholds lie above 0 and up to 1, not at {threshold!r}")
        if list(self.thresholds) != sorted(set(self.thresholds)):
            raise InputError(f"IoU thresholds must ascend: {self.thresholds}")
        for user in self.users:
            if user not in USERS:
                raise InputError(f"user must be one of {', '.join(USERS)}, not {user!r}")
        if self.seed < 0:
            raise InputError(f"the seed must be at least 0, not {self.seed}")
        labels = [entrant.label for entrant in self.entrants]
        for label in labels:
            if labels.count(label) > 1:
                raise InputError(f"two policies are called {label!r}")

    @property
    def entrants(self) -> tuple[Entrant, ...]:
        """All pairs of policy and user, in order; the ideal user's go by the policy's own label."""
        return tuple(
            Entrant(
                label=policy.label if user == "ideal" else f"{policy.label} ({user})",
                policy=policy,
                user=user,
                key=self._key(policy, user),
            )
            for user in self.users
            for policy in self.policies
        )

    def person(self, entrant: Entrant, image: str) -> Policy:
        """Who clicks on an image, with random numbers that depend on nothing but its name and the seed."""
        seed = [self.seed, seed_of(image)]
        policy = make_policy(entrant.policy.name, seed=[*seed, 0], **entrant.policy.options)
        return policy if entrant.user == "ideal" else HumanUser(policy, seed=[*seed, 1], config=self.human)

    def _score(self, policy: PolicySpec) -> ScoreConfig:
        """Of the region score that is written down for the policy's clicks."""
        return policy.acselect or self.rollout.score

    def _key(self, policy: PolicySpec, user: str) -> str:
        settings = {
            "policy": policy.name,
            "options": dict(policy.options),
            "user": user,
            "human": asdict(self.human) if user == "human" else None,
            "rollout": asdict(dataclasses.replace(self.rollout, score=self._score(policy))),
            "seed": self.seed,
            "backend": dict(self.backend),
            "program": self.program,
        }
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()
        return f"{policy.name}-{user}-{digest[:16]}"

    def settings(self) -> dict[str, Any]:
        """All of it as plain values, for `summary.json`."""
        return {
            "policies": {
                entrant.label: {
                    "policy": entrant.policy.name,
                    "user": entrant.user,
                    "score": asdict(self._score(entrant.policy)),
                    **entrant.policy.options,
                }
                for entrant in self.entrants
            },
            "thresholds": list(self.thresholds),
            "human": asdict(self.human) if "human" in self.users else None,
            "seed": self.seed,
            **asdict(self.rollout),
            "nsd_at": list(self.rollout.nsd_at),
            **self.backend,
            "program": self.program,
            **self.notes,
        }


def parse_policy(text: str, acselect: Mapping[str, str]) -> PolicySpec:
    """Reads a policy from a command line: NAME, or NAME:KEY=VALUE,... with options of its own.

    Args:
        text: Such as "standard" or "acselect:gamma=0,size=none". The whole text is the policy's label, unless
            it has an option "label".
        acselect: Options for every "acselect"; those in the text come first.

    Raises:
        InputError: Naming what cannot be read.
    """
    name, _, tail = text.partition(":")
    options = dict(acselect) if name == "acselect" else {}
    options.update(dict(parse_option(part) for part in tail.split(",")) if tail else {})
    label = options.pop("label", text)
    return PolicySpec(label, name, {key: parse_value(value) for key, value in options.items()})


def parse_score(acselect: Mapping[str, str]) -> ScoreConfig:
    """The region score that options for every "acselect" mean; raises `InputError` naming one that cannot be meant."""
    config = parse_policy("acselect", acselect).acselect
    return ScoreConfig(**{field.name: getattr(config, field.name) for field in dataclasses.fields(ScoreConfig)})


def parse_human(texts: Sequence[str]) -> HumanConfig:
    """Reads the options of the human user, each KEY=VALUE; raises `InputError` naming what cannot be meant."""
    values: dict[str, Any] = {key: parse_value(value) for key, value in map(parse_option, texts)}
    known = [field.name for field in dataclasses.fields(HumanConfig)]
    unknown = [key for key in values if key not in known]
    if unknown:
        raise InputError(f"the human has the options {', '.join(known)}, not {', '.join(unknown)}")
    return HumanConfig(**values)


def parse_option(text: str) -> tuple[str, str]:
    """Splits KEY=VALUE. Raises `InputError` if it is none."""
    key, sign, value = text.partition("=")
    if not (key and sign and value):
        raise InputError(f"an option is KEY=VALUE, not {text!r}")
    return key, value


def parse_value(text: str) -> int | float | str:
    """An int or a float if the text is one, else the text."""
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text
