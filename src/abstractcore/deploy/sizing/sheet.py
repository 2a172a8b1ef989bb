"""Collects the tensors of a model while its layers are described."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .quantization import Scheme
from .tensors import DTYPES, Split, Tensor


@dataclass(slots=True)
class Sheet:
    """Tensors that a checkpoint of this kind has."""

    dtype: str
    """Of what is not quantized: ``bfloat16``, ``float16`` or ``float32``."""
    scheme: Scheme
    prefix: str = "model.layers"
    tensors: list[Tensor] = field(default_factory=list)

    def linear(
        self,
        name: str,
        out: int,
        into: int,
        *,
        split: Split = Split.EVEN,
        bias: bool = False,
        divided_bias: bool = True,
        layers: Sequence[int] = (),
        copies: int = 1,
        quantized: bool = True,
        place: str = "all",
        expert: bool = False,
        heads: int = 0,
    ) -> None:
        """A matrix of ``out`` by ``into``, stored as the checkpoint's quantization does.

        Args:
            name: Without the layer's number.
            out: Output channels.
            into: Input channels.
            split: How ranks share it.
            bias: Whether there is a bias, of ``out`` elements.
            divided_bias: Whether the ranks share the bias as they do the matrix; one that adds up sums does not.
            layers: The layers that have it.
            copies: How many there are in each.
            quantized: Whether quantization may touch it.
            place: Outside the layers: the stages that have it.
            expert: Whether it belongs to a routed expert.
            heads: What a split by heads counts, if not the model's key and value heads.
        """
        for scheme, mine in self._by_scheme(name, layers, expert=expert) if quantized else [(Scheme(), tuple(layers))]:
            for suffix, shape, dtype, whole in scheme.parts(out, into, DTYPES[self.dtype]):
                shared = Split.NONE if whole else split
                self.tensors.append(Tensor(f"{name}.{suffix}", shape, dtype, shared, mine, copies, heads, place))
        if bias:
            shared = split if divided_bias else Split.NONE
            kind = DTYPES[self.dtype]
            self.tensors.append(Tensor(f"{name}.bias", (out,), kind, shared, tuple(layers), copies, heads, place))

    def vector(
        self,
        name: str,
        *shape: int,
        split: Split = Split.NONE,
        layers: Sequence[int] = (),
        dtype: str | None = None,
        place: str = "all",
        copies: int = 1,
    ) -> None:
        """A tensor that quantization never touches, such as a norm; whole on every rank unless ``split`` says so."""
        kind = dtype or DTYPES[self.dtype]
        self.tensors.append(Tensor(name, shape, kind, split, tuple(layers), copies, 0, place))

    def _by_scheme(self, name: str, layers: Sequence[int], *, expert: bool) -> list[tuple[Scheme, tuple[int, ...]]]:
        scheme = self.scheme
        if scheme.only_experts and not expert:
            return [(Scheme(), tuple(layers))]
        if not scheme.ignored:
            return [(scheme, tuple(layers))]
        if not layers:
            return [(Scheme() if scheme.ignores(name) else scheme, ())]
        number = ".0" if expert else ""
        spared = [
            n for n in layers if scheme.ignores(f"{self.prefix}.{n}.{name.replace('experts', 'experts' + number)}")
        ]
        left = tuple(layer for layer in layers if layer not in set(spared))
        return [(kind, mine) for kind, mine in ((scheme, left), (Scheme(), tuple(spared))) if mine]
