"""Marks that the tests of other libraries carry, and that pytest refuses unless they are declared."""

MARKS = (
    *("accelerate_tests", "cpu_offload", "flash_attn_3_test", "flash_attn_4_test", "flash_attn_test", "is_agent_test"),
    *("is_expert_parallel_test", "is_fsdp_test", "is_pipeline_test", "is_staging_test", "is_tensor_parallel_test"),
    *("is_training_test", "order", "torch_compile_test"),
)


def pytest_configure(config):
    for mark in MARKS:
        config.addinivalue_line("markers", f"{mark}: of transformers or diffusers")
