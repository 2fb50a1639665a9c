# SPDX-License-Identifier: Apache-2.0
"""What is to come of each wrapper in this directory: built and compared, unless it is listed here.

`WRONG` are mistakes, each of which is made in a copy of a wrapper: the ones that wrapping a kernel invites.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

REFUSED = {
    "liger_softmax_blocks": "'dtype' object is not callable",
    "mlstm_recurrent_step": "Block pointers have been removed",
    "torchao_int8_matmul": "Block pointers have been removed",
    "conch_iou_mask": "were not written",
    "turboquant_hadamard": "a race: writes byte",
}
"""Wrappers that must not be built, with a part of the message that says why.

Liger's kernel calls `tl.float32(...)`, which no Triton has. Triton 3.9 dropped block pointers. Conch's kernel leaves
half of its output to a caller that filled it with zeros before. fused-turboquant's four warps exchange a row through
memory, with a barrier after the writes alone.
"""

STATIC = {
    "awq_dequantize": "groups tie the sizes of its inputs to each other",
    "conch_dequantize_nf4": "blocks tie the sizes of its inputs to each other",
    "flash_kmeans_assign": "its sizes are tl.constexpr",
    "flashlib_lru": "its blocks hold all of its tensors",
    "flashinfer_page": "one input is one longer than the other",
    "gems_dropout": "its heuristic chooses the block by the size",
    "gems_index_select": "its heuristics choose tiles by the sizes",
    "gems_upsample_nearest": "its heuristics compare the sizes",
    "lightllm_token_attention": "its tables hold numbers of tokens and pages",
    "trinix_mish": "its count is a tl.constexpr",
}
"""Wrappers without dynamic dimensions, and why."""

ATTRIBUTES: dict[str, dict[str, float]] = {"liger_cross_entropy": {"softcap": 30.0}}
"""Other attributes that the dynamic build is given."""


LARGE: dict[str, dict[str, int]] = {
    "gems_embedding": {"V": 4096, "N": 768},
    "liger_softmax": {"M": 4096, "N": 2048},
    "unsloth_rms_norm": {"M": 64, "N": 8192},
}
"""Sizes, by dimension, at which a wrapper is built as well: tensors of more elements than are run as a whole."""


@dataclass(frozen=True)
class Wrong:
    """A mistake: in this wrapper, `old` (which stands there once) replaced by `new`.

    It is built at the recipe's shapes, or with its dynamic dimensions, or at `sizes` by dimension.
    """

    mistake: str
    wrapper: str
    old: str
    new: str
    dynamic: bool = False
    sizes: Mapping[str, int] = field(default_factory=dict)


WRONG = (
    Wrong("block below the row", "liger_softmax", "BLOCK_SIZE=triton.next_power_of_2(cols)", "BLOCK_SIZE=128"),
    Wrong(
        "block below the row, two outputs",
        "unsloth_rms_norm",
        "BLOCK_SIZE=triton.next_power_of_2(cols)",
        "BLOCK_SIZE=256",
    ),
    Wrong(
        "block below the number of experts",
        "moe_ops_topk_softmax",
        "BLOCK_E=triton.next_power_of_2(experts)",
        "BLOCK_E=16",
    ),
    Wrong(
        "block below a long row",
        "unsloth_rms_norm",
        "BLOCK_SIZE=triton.next_power_of_2(cols)",
        "BLOCK_SIZE=1024",
        sizes=LARGE["unsloth_rms_norm"],
    ),
    Wrong("last column forgotten", "liger_layer_norm", "n_cols=cols", "n_cols=cols - 1"),
    Wrong("last centroid forgotten", "flash_kmeans_assign", "K=k,", "K=k - 1,"),
    Wrong("a program too few", "liger_geglu", "grid=rows", "grid=rows - 1"),
    Wrong("grid rounded down", "unsloth_swiglu", "grid=trtp.cdiv(n, 512)", "grid=n // 512"),
    Wrong("heads rounded down", "unsloth_rope", "-(-heads // 4)", "heads // 4"),
    Wrong("grid of the opt shape alone", "unsloth_geglu_exact", "grid=trtp.cdiv(n, 512)", "grid=3", dynamic=True),
    Wrong(
        "count of the opt shape alone", "augment_normalize", "n_elements=n * c * h * w", "n_elements=594", dynamic=True
    ),
    Wrong("grid without the batch", "fla_token_shift", "grid=(b, t)", "grid=(1, t)"),
    Wrong("grid for blocks twice as wide", "xformers_index_select", "trtp.cdiv(cols, 64)", "trtp.cdiv(cols, 128)"),
    Wrong("grid for chunks twice as long", "fla_chunk_cumsum", "trtp.cdiv(t, 32)", "trtp.cdiv(t, 64)"),
    Wrong("grid for taller tiles", "awq_gemm", "trtp.cdiv(m, 32)", "trtp.cdiv(m, 64)"),
    Wrong("strides of rows and columns swapped", "gems_skip_layer_norm", "x_stride_r=cols", "x_stride_r=1"),
    Wrong("height and width swapped", "augment_flip", "height=h,", "height=w,"),
    Wrong("sizes swapped", "gems_tril", "M=m,", "M=n,"),
    Wrong("stride without a factor", "liger_causal_mask", "stride_b=length * length", "stride_b=length"),
    Wrong("stride of the cache too small", "lightllm_copy_kv", "stride_o_bs=heads * dim", "stride_o_bs=dim"),
    Wrong("stride of a row is 1", "liger_cross_entropy", "X_stride=cols", "X_stride=1"),
    Wrong("position without the sequence", "liger_rope", "sl=seq", "sl=1"),
    Wrong("pixels of a row instead of an image", "augment_saturation", "width=w,", "width=1,"),
    Wrong("two inputs swapped", "accelerated_scan_forward", "forget=forget", "forget=x"),
    Wrong("two states swapped", "flashinfer_merge_state", "s_a_ptr=s_a", "s_a_ptr=s_b"),
    Wrong("groups of another size", "awq_dequantize", "group_size=group", "group_size=group * 2"),
    Wrong("channels of another group", "liger_group_norm", "channels_per_group=per_group", "channels_per_group=1"),
    Wrong("left and right swapped", "gems_reflection_pad", "pad_left=left", "pad_left=right"),
    Wrong("half of the rotation", "conch_rotary_embedding", "rot_dim=head,", "rot_dim=head // 2,"),
    Wrong("the stride of a token for a document's", "late_interaction_maxsim", "stride_d_n=ld * dim", "stride_d_n=dim"),
    Wrong("half of the experts", "te_row_id_map", "next_power_of_2(experts)", "next_power_of_2(experts) // 2"),
    Wrong(
        "a word's bits for a row's", "xgrammar_bitmask", "bitmask_strides=bitmask.shape_expr[1]", "bitmask_strides=1"
    ),
    Wrong("parts of one feature", "flashlib_histogram", "grid=(nodes, s)", "grid=(nodes, 1)"),
    Wrong("last component forgotten", "flashlib_union_find", "grid=n,", "grid=n - 1,"),
    Wrong("mask of whole blocks", "liger_embedding", "n_elements=count", "n_elements=trtp.cdiv(count, 16) * 16"),
)
