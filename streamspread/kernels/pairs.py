"""The innermost loop of exact products, in instructions that Numba's Python has no words for.

Processors of the x86 family multiply 16-bit integers and add the products of neighbours in int32, exactly,
by one instruction: ``vpmaddwd`` of SSE2, AVX2 and AVX-512, or ``vpdpwssd`` of VNNI, which adds them to a sum
too. LLVM finds them in what is written here, and takes what other processors have.

Rows lie in *panels*: of as many rows as a register has lanes, a pair of neighbouring terms of each, and then
the next pair. A *tile* of sums has some rows of one panel, and all of those of ``SIDE`` panels as columns, so
that it stays in registers.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

_FEATURES = cpu_target.target_context.codegen().magic_tuple()[2].split(",")  # for which Numba makes code

#: Rows of a panel, rows of a tile, and panels that are its columns.
LANES = 16 if "+avx512bw" in _FEATURES else 8 if "+avx2" in _FEATURES else 4
TILE = max(4, LANES // 2)
SIDE = 3

_LONG, _SHORT = ir.IntType(64), ir.IntType(16)
_INT = ir.IntType(32)
_SUMS, _PAIRS = ir.VectorType(_INT, LANES), ir.VectorType(_SHORT, 2 * LANES)
_ANY = ir.Constant(_SUMS, ir.Undefined)


@intrinsic
def _add_tile(context: Any, x: Any, where: Any, pairs: Any, out: Any, place: Any, width: Any) -> Any:
    signature = types.void(x, where, pairs, out, place, width)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, where, pairs, out, place, width = arguments
        row, column, apart = cgutils.unpack_tuple(builder, where)
        data = cgutils.create_struct_proxy(signature.args[0])(context, builder, x).data
        held = cgutils.create_struct_proxy(signature.args[3])(context, builder, out).data
        sums = [[cgutils.alloca_once(builder, _SUMS) for _ in range(SIDE)] for _ in range(TILE)]
        for each in (each for of_row in sums for each in of_row):
            builder.store(ir.Constant(_SUMS, [0] * LANES), each)
        rows = builder.gep(data, [row])
        columns = [builder.gep(data, [_number(builder, column, each, apart)]) for each in range(SIDE)]
        with cgutils.for_range(builder, pairs) as loop:
            at = builder.mul(loop.index, _LONG(LANES))
            right = [_load(builder, builder.gep(panel, [at]), _PAIRS, 4) for panel in columns]
            for number, of_row in enumerate(sums):
                pair = builder.load(builder.gep(rows, [builder.add(at, _LONG(number))]))
                left = _in_all_lanes(builder, pair)
                for each, pairs_L in zip(of_row, right, strict=True):
                    added = builder.add(builder.load(each), _products(builder, left, pairs_L))
                    builder.store(added, each)
        for number, of_row in enumerate(sums):
            begin = builder.gep(held, [_number(builder, place, number, width)])
            for panel, each in enumerate(of_row):
                _add_to(builder, builder.gep(begin, [_LONG(panel * LANES)]), builder.load(each))
        return context.get_dummy_value()

    return signature, generate


#: ``add_tile(x, (row, column, apart), pairs, out, place, width)``, in compiled functions: add the products of
#: so many pairs, whose sums must be within int32, to a tile of ``out``.
#:
#: x: int32, each a pair, of panels that are ``apart`` numbers apart: the tile's first row begins at number
#: ``row``, its first panel of columns at number ``column``. out: int64; the tile begins at number ``place``,
#: and its rows are ``width`` numbers apart.
add_tile: Any = _add_tile


def _number(builder: Any, begin: Any, count: int, apart: Any) -> Any:
    return builder.add(begin, builder.mul(apart, _LONG(count)))


def _load(builder: Any, place: Any, kind: Any, align: int) -> Any:
    """A register full of numbers, which lie at a multiple of so many bytes."""
    loaded = builder.load(builder.bitcast(place, kind.as_pointer()))
    loaded.align = align
    return loaded


def _in_all_lanes(builder: Any, pair: Any) -> Any:
    alone = builder.insert_element(_ANY, pair, _INT(0))
    lanes = ir.Constant(ir.VectorType(_INT, LANES), [0] * LANES)
    return builder.bitcast(builder.shuffle_vector(alone, _ANY, lanes), _PAIRS)


def _products(builder: Any, a: Any, b: Any) -> Any:
    """Of each pair the sum of its two products."""
    wide = ir.VectorType(_INT, 2 * LANES)
    products = builder.mul(builder.sext(a, wide), builder.sext(b, wide))
    of_pairs = (ir.Constant(_SUMS, list(range(first, 2 * LANES, 2))) for first in (0, 1))
    one, other = (builder.shuffle_vector(products, products, lanes) for lanes in of_pairs)
    return builder.add(one, other)


def _add_to(builder: Any, place: Any, sums: Any) -> None:
    kind = ir.VectorType(_LONG, LANES)
    after = builder.add(_load(builder, place, kind, 8), builder.sext(sums, kind))
    builder.store(after, builder.bitcast(place, kind.as_pointer())).align = 8
