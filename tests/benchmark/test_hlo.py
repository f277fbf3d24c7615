"""Reading compiled programs: what is run, what it costs, what devices exchange."""

from signjax.benchmark import hlo

# As a TPU's compiler writes, shortened.
TPU = """
HloModule jit_train_step, is_scheduled=true

%fused_computation.1 (p: f32[8,4]) -> f32[8,4] {
  %p = f32[8,4]{1,0} parameter(0)
  ROOT %inner = f32[8,4]{1,0} negate(%p), backend_config={"estimated_cycles":"9999"}
}

%body (arg: (f32[8,4], s32[])) -> (f32[8,4], s32[]) {
  %arg = (f32[8,4]{1,0}, s32[]) parameter(0)
  %x = f32[8,4]{1,0} get-tuple-element(%arg), index=0
  %f.2 = f32[8,4]{1,0} fusion(%x), kind=kLoop, calls=%fused_computation.1, \
metadata={op_name="jit(epoch)/while/body/jit(train_step)/optimizer/add"}, \
backend_config={"window_config":{"estimated_cycles":"30"}}
  ROOT %t = (f32[8,4]{1,0}, s32[]) tuple(%f.2)
}

ENTRY %main.3 (images: u8[1080,12]) -> f32[8,4] {
  %images.1 = u8[1080,12]{0,1} parameter(0), metadata={op_name="images"}
  %copy.1 = u8[1080,12]{1,0} copy(%images.1), metadata={op_name="images"}, \
backend_config={"window_config":{"estimated_cycles":"500"}}
  %gather_fusion.7 = f32[8,4]{1,0:T(8,128)(2,1)} fusion(%copy.1), kind=kCustom, \
calls=%fused_computation.1, metadata={op_name="jit(train_step)/data/gather"}
  %fusion.4 = f32[8,4]{1,0} fusion(%gather_fusion.7), kind=kLoop, \
calls=%fused_computation.1, metadata={op_name="jit(train_step)/augment/mul"}, \
backend_config={"window_config":{"estimated_cycles":"70"}}
  %fusion.5 = (bf16[8,4]{1,0}, f32[4]{0}) fusion(%fusion.4), kind=kOutput, \
calls=%fused_computation.1, metadata={op_name="jit(train_step)/jvp(CNN)/conv"}, \
backend_config={"window_config":{"estimated_cycles":"11"}}
  %fusion.6 = bf16[8,4]{1,0} fusion(%fusion.5), kind=kOutput, \
calls=%fused_computation.1, metadata={op_name="jit(train_step)/transpose(jvp())/c"}, \
backend_config={"window_config":{"estimated_cycles":"22"}}
  %all-reduce.1 = (bf16[8,4]{1,0}, f32[4]{0}) all-reduce(%fusion.6, %fusion.5)
  %all-reduce-start.2 = f32[16]{0} all-reduce-start(%fusion.6)
  %all-reduce-done.2 = f32[16]{0} all-reduce-done(%all-reduce-start.2)
  %count = s32[]{:T(128)} add(%fusion.6, %fusion.6)
  ROOT %while.1 = (f32[8,4]{1,0}, s32[]) while(%fusion.6), condition=%c, body=%body
}
"""
GPU = """
%wrapped (p: bf16[4]) -> bf16[4] {
  ROOT %n = bf16[4]{0} negate(%p)
}

ENTRY %main (a: bf16[4]) -> bf16[4] {
  %a = bf16[4]{0} parameter(0)
  %loop_add_fusion.1 = bf16[4]{0} fusion(%a), kind=kLoop, calls=%wrapped
  %input_reduce_fusion = f32[]{} fusion(%a), kind=kInput, calls=%wrapped
  %loop_transpose_fusion.3 = bf16[4]{0} fusion(%a), kind=kLoop, calls=%wrapped
  %gemm_fusion_dot.4 = bf16[4]{0} fusion(%a), kind=kCustom, calls=%wrapped
  %conv.5 = (bf16[4]{0}, u8[64]{0}) custom-call(%a), \
custom_call_target="__cudnn$convForward"
  ROOT %copy.9 = bf16[4]{0} copy(%a)
}
"""


def test_cycles_are_those_of_what_runs_by_the_part_of_the_step() -> None:
    assert hlo.cycles_by_part(TPU) == {
        "data": 500,
        "augment": 70,
        "forward": 11,
        "backward": 22,
        "optimizer": 30,
    }


def test_what_has_no_estimate_is_named() -> None:
    assert hlo.unestimated(TPU) == {
        "gather_fusion": 1,
        "all-reduce": 1,
        "all-reduce-start": 1,
        "while": 1,
    }


def test_collectives_are_told_by_type() -> None:
    found = {(row["operation"], row["type"]): row for row in hlo.collectives(TPU)}
    counts = {key: (row["count"], row["bytes"]) for key, row in found.items()}
    assert counts == {
        ("all-reduce", "bf16"): (1, 2 * 8 * 4),
        ("all-reduce", "f32"): (2, 4 * 4 + 4 * 16),
    }
    assert hlo.collectives(GPU) == []


def test_kernels_of_a_gpu_are_told_by_kind() -> None:
    assert hlo.kernels_by_kind(GPU) == {
        "fusion: elementwise": 1,
        "fusion: reduce": 1,
        "fusion: transpose": 1,
        "fusion: gemm": 1,
        "cudnn": 1,
        "copy": 1,
    }
