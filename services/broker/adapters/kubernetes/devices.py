"""Accelerators: what the catalog's are called at the cluster, what a pod asks for one, and which one a pod or a node has. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.broker.adapters.kubernetes.settings import Slice


@dataclass(frozen=True, slots=True)
class Device:
    """`resource` is asked for; `model` is the value of the node label that names it, empty where there is one kind of it."""

    resource: str
    model: str

    @classmethod
    def named(cls, text: str) -> "Device":
        """`nvidia.com/gpu:NVIDIA-H100-80GB-HBM3`, or `hygon.com/dcu`."""
        resource, _, model = text.partition(":")
        return cls(resource, model)

    def __str__(self) -> str:
        return f"{self.resource}:{self.model}" if self.model else self.resource


class Devices:
    """Of one site: accelerator id -> what the site calls it, which label has the model, and shares of cards."""

    def __init__(self, names: Mapping[str, str], labels: Mapping[str, str], slices: Mapping[str, Slice]) -> None:
        self._devices = {accelerator: Device.named(name) for accelerator, name in names.items()}
        self._labels = labels
        self._slices = slices

    def get(self, accelerator: str) -> Device | None:
        return self._devices.get(accelerator)

    def resources(self, accelerator: str, count: int) -> dict[str, int]:
        """What a pod with so many of it asks for. Raises KeyError."""
        asked = {self._devices[accelerator].resource: count}
        share = self._slices.get(accelerator)
        return asked | ({share.resource: share.amount * count} if share is not None else {})

    def selector(self, accelerator: str) -> dict[str, str]:
        """On which nodes it is. Raises KeyError: the site doesn't have it, or names a model without saying which label has it."""
        device = self._devices[accelerator]
        return {self._labels[device.resource]: device.model} if device.model else {}

    def held(self, requests: Mapping[str, int], selector: Mapping[str, str]) -> tuple[str | None, int]:
        """The accelerator that a pod with these requests and this node selector has, and how many of it."""
        for accelerator, device in self._devices.items():
            count = requests.get(device.resource, 0)
            model = selector.get(self._labels.get(device.resource, ""), "")
            share = self._slices.get(accelerator)
            if count and model == device.model and (share is None or share.resource in requests):
                return accelerator, count
        return None, 0

    def of_node(self, allocatable: Mapping[str, int], labels: Mapping[str, str]) -> tuple[Device | None, int]:
        """What a node has, by the first resource that is an accelerator here."""
        known = {device.resource for device in self._devices.values()} | self._labels.keys()
        for resource in sorted(known & allocatable.keys()):
            if allocatable[resource]:
                return Device(resource, labels.get(self._labels.get(resource, ""), "")), allocatable[resource]
        return None, 0
