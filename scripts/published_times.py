"""Takes the published times of measurements/published/ out of NVIDIA's wheel, aiconfigurator-core, which pip fetches.

    pip install pyarrow && python scripts/published_times.py
    python scripts/published_times.py --cache FOLDER --to FOLDER

The wheel is unpacked and not installed. Its version and its hash are fixed, so anybody gets the same bytes: rows are
chosen, columns renamed, repeats replaced by their median, and times rounded to four digits. Nothing else is changed.
"""

import argparse
import csv
import hashlib
import io
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import ZipFile

VERSION = "0.12.0"
WHEEL = f"aiconfigurator_core-{VERSION}-cp311-abi3-manylinux_2_28_x86_64.whl"
SHA256 = "aadc4aad0a00bf8a61c477c62bef43de479849c3aa0b1c3078068e08309eccc4"
PLACE = "aiconfigurator_core/systems/data"
HERE = Path(__file__).resolve().parents[1] / "measurements" / "published"
CACHE = Path(os.environ.get("ROOFLINE_KIT_CACHE", Path.home() / ".cache" / "roofline-kit"))

GPUS = {"A100-80GB-SXM": "a100_sxm", "H100-SXM": "h100_sxm", "H200": "h200_sxm", "B200": "b200_sxm", "L40S": "l40s"}
PROGRAMS = {"SGLang": "sglang", "TensorRT-LLM": "trtllm", "vLLM": "vllm"}
OLD = {"SGLang": "0.5.10", "TensorRT-LLM": "1.0.0", "vLLM": "0.14.0"}  # the last ones that were run on an A100
NEW = {"SGLang": "0.5.14", "TensorRT-LLM": "1.3.0rc20", "vLLM": "0.24.0"}
DTYPES = {"bfloat16": "bf16", "half": "fp16", "sq": "int8"}  # SmoothQuant: weights and activations
KERNELS = {
    "sglang": "torch linear",
    "sglang_torch_linear": "torch linear",
    "torch.nn.functional.linear": "torch linear",
    "vllm_default": "torch linear",
    "trt_flow_/weight_only_quant_matmul_L257/PLUGIN_V2_WeightOnlyQuantMatmul_0": "WeightOnlyQuantMatmul",
    "trt_flow_/smooth_quant_gemm_L96/PLUGIN_V2_SmoothQuantGemm_0": "SmoothQuantGemm",
}
Row = dict[str, Any]

# Which rows: sizes of layers that pages draw or the table of errors counts. All rows are 480,000.
ROWS_OF_X = {1, 2, 4, 8, 16, 32, 48, 64, 80, 96, 128, 129, 160, 192, 256, 257, 384, 512, 513, 768, 1024, 2048, 4096}
ROWS_OF_X |= {8192, 16384, 32768}
SQUARE = (4096, 4096)  # of this one, every number of rows
FEW = {SQUARE, (8192, 8192), (12288, 4096), (16384, 16384)}
SOME = FEW | {(4096, 16384), (16384, 4096)}
MANY = SOME | {(1024, 1024), (2048, 2048), (4096, 3584), (6144, 4096), (7168, 4096), (7168, 8192), (8192, 3584)}
MANY |= {(10240, 8192)}
HOPPER = ("H100-SXM", "H200")
MODELS = {
    (2048, 768, 128, 8): "Qwen3 30B-A3B",
    (4096, 14336, 8, 2): "Mixtral 8x7B",
    (7168, 2048, 256, 8): "DeepSeek V3",
}  # hidden, inter, experts, topk
QWEN, MIXTRAL, DEEPSEEK = MODELS
EXPERTS = {gpu: {(p, "bf16", *model) for p in PROGRAMS if p != "vLLM" for model in (QWEN, MIXTRAL)} for gpu in GPUS}
EXPERTS["A100-80GB-SXM"] = {("SGLang", "bf16", *model) for model in MODELS}
for gpu in (*HOPPER, "B200"):
    EXPERTS[gpu] |= {("TensorRT-LLM", "fp8_block", *DEEPSEEK)}


def main() -> None:
    """Fetches the wheel if it is not there, and writes the tables."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--cache", type=Path, default=CACHE, help="where the wheel is kept")
    words.add_argument("--to", type=Path, default=HERE, help="where the tables are written")
    given = words.parse_args()
    write(fetched(given.cache), given.to)


def fetched(cache: Path) -> Path:
    """The wheel, downloaded by pip if it is not in this folder. Raises SystemExit if it is not the one that we know."""
    path = cache / WHEEL
    if not path.exists():
        line = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--dest", str(cache)]
        line += ["--python-version", "3.11", "--platform", "manylinux_2_28_x86_64", f"aiconfigurator-core=={VERSION}"]
        subprocess.run(line, check=True)
    if (found := hashlib.sha256(path.read_bytes()).hexdigest()) != SHA256:
        raise SystemExit(f"{path} has the SHA-256 {found}, and the tables are made from {SHA256}")
    return path


def write(wheel: Path, folder: Path) -> None:
    """Writes one file an operation."""
    folder.mkdir(parents=True, exist_ok=True)
    with ZipFile(wheel) as archive:
        source = Source(archive)
        for name, rows in TABLES.items():
            (folder / f"{name}.csv").write_bytes(text(rows(source)).encode())


class Source:
    """The tables in the wheel, as rows."""

    def __init__(self, archive: ZipFile) -> None:
        self.archive = archive

    def __call__(self, gpu: str, family: str, program: str, table: str) -> Iterator[Row]:
        """The rows of one table, each with the names of GPU, program and kernel that we give them."""
        from pyarrow.parquet import read_table

        version = (OLD if gpu.startswith("A100") else NEW)[program]
        path = f"{PLACE}/{GPUS[gpu]}/{family}/{PROGRAMS[program]}/{version}/{table}_perf.parquet"
        ours = {"gpu": gpu, "software": f"{program} {version}"}
        for part in read_table(io.BytesIO(self.archive.read(path))).to_batches(1000):  # few in memory at a time
            for row in part.to_pylist():
                row.update(ours, kernel=KERNELS.get(row["kernel_source"], row["kernel_source"]))
                yield row

    def nccl(self, gpu: str) -> Iterator[Row]:
        """The rows of NCCL's table, which has a folder of its own."""
        from pyarrow.parquet import read_table

        version = "2.27.3" if gpu in ("A100-80GB-SXM", "L40S") else "2.29.2"
        path = f"{PLACE}/{GPUS[gpu]}/comm/nccl/{version}/nccl_perf.parquet"
        for row in read_table(io.BytesIO(self.archive.read(path))).to_pylist():
            yield row | {"gpu": gpu, "software": f"NCCL {version}"}


def text(rows: Iterable[Row]) -> str:
    """A table in order, with the median of what was measured more than once."""
    times: dict[tuple[Any, ...], list[float]] = {}
    columns: list[str] = []
    for row in rows:
        *columns, _ = row
        times.setdefault(tuple(row[name] for name in columns), []).append(row["ms"])
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow([*columns, "ms"])
    for key in sorted(times):
        table.writerow([*key, f"{statistics.median(times[key]):.4g}"])
    return out.getvalue()


def named(row: Row, **sizes: Any) -> Row:
    """A row of ours."""
    return {**{name: row[name] for name in ("gpu", "software", "kernel")}, **sizes, "ms": row["latency"]}


def _dtype(theirs: str) -> str:
    """What the kit calls a dtype of theirs."""
    return DTYPES.get(theirs, theirs)


def products(source: Source) -> Iterator[Row]:
    """X · W: m rows, n outputs, k inputs."""
    for gpu in GPUS:
        for program in PROGRAMS:
            for row in source(gpu, "gemm", program, "gemm"):
                dtype, shape = _dtype(row["gemm_dtype"]), (row["n"], row["k"])
                if shape in _shapes(program, dtype) and (row["m"] in ROWS_OF_X or _every_row(program, dtype, shape)):
                    yield named(row, dtype=dtype, m=row["m"], n=row["n"], k=row["k"])


@cache
def _shapes(program: str, dtype: str) -> set[tuple[int, int]]:
    """Which layers of a program's."""
    if dtype == "bf16":
        return MANY if program == "SGLang" else FEW
    kept = {"SGLang": ("fp8", "nvfp4"), "TensorRT-LLM": ("int8", "int4_wo", "int8_wo"), "vLLM": ()}
    return SOME if dtype in kept[program] else set()


def _every_row(program: str, dtype: str, shape: tuple[int, int]) -> bool:
    return (program, dtype, shape) == ("SGLang", "bf16", SQUARE)


def attention(source: Source) -> Iterator[Row]:
    """Of 32 heads of 128: a prompt's tokens among themselves, and one new token with its context."""
    for gpu in GPUS:
        yield from prefill(source, gpu)
        yield from decode(source, gpu)


def prefill(source: Source, gpu: str) -> Iterator[Row]:
    """Prompts, which begin with nothing in the cache."""
    for program in ("SGLang", "vLLM"):
        for row in source(gpu, "attention", program, "context_attention"):
            drawn = row["num_key_value_heads"] in (8, 32) and row["isl"] >= 16
            if drawn and _of_32_heads(row) and _cache(row) == "bf16":
                yield attended(row, "prefill", row["isl"], row["isl"])


def decode(source: Source, gpu: str) -> Iterator[Row]:
    """One new token of each user."""
    for program in PROGRAMS if gpu in HOPPER else ("SGLang", "vLLM"):
        for row in source(gpu, "attention", program, "generation_attention"):
            if _of_32_heads(row) and 16 <= _context(row) <= 65536 and _drawn(row, program):
                yield attended(row, "decode", 1, _context(row))


def _of_32_heads(row: Row) -> bool:
    """Of the kernel that the program takes for these heads; on a B200, SGLang's table has another one as well."""
    heads = (row["num_heads"], row["head_dim"], row.get("window_size", 0), row["attn_dtype"])
    other = (row["gpu"], row["kernel"]) == ("B200", "flashinfer")
    return heads == (32, 128, 0, "bfloat16") and not other


def _cache(row: Row) -> str:
    return _dtype(row["kv_cache_dtype"])


def _context(row: Row) -> int:
    """The keys that the new token sees, itself included; vLLM 0.14.0 counts it as well, all others do not."""
    return int(row["step"]) + (row["software"] != "vLLM 0.14.0")


def _drawn(row: Row, program: str) -> bool:
    """Whether a page has use for a row of decode: caches in fp8 are compared on Hopper, other heads with SGLang."""
    heads = row["num_key_value_heads"]
    if _cache(row) == "fp8":
        return heads == 8 and program != "vLLM" and row["gpu"] in HOPPER
    return heads == 8 or (program == "SGLang" and heads in (1, 32))


def attended(row: Row, op: str, tokens: int, context: int) -> Row:
    """A row of ours."""
    sizes = {"op": op, "dtype": "bf16", "kv_dtype": _cache(row), "batch": row["batch_size"], "tokens": tokens}
    sizes |= {"context": context, "heads": 32, "kv_heads": row["num_key_value_heads"], "head_dim": 128}
    return named(row, **sizes)


def latent_attention(source: Source) -> Iterator[Row]:
    """DeepSeek's: 576 numbers a token for all heads. `heads` are those on this GPU."""
    for gpu in ("H100-SXM", "H200", "B200"):
        for row in source(gpu, "mla", "TensorRT-LLM", "generation_mla"):
            if row["kv_cache_dtype"] == "bfloat16" and row["num_heads"] >= 8 and row["step"] >= 255:
                yield latent(row, "decode", 1, row["step"] + 1)
        for row in source(gpu, "mla", "TensorRT-LLM", "context_mla"):
            if row["kv_cache_dtype"] == "bfloat16" and row["num_heads"] in (16, 128) and row["isl"] >= 128:
                yield latent(row, "prefill", row["isl"], row["isl"])


def latent(row: Row, op: str, tokens: int, context: int) -> Row:
    """A row of ours."""
    sizes = {"batch": row["batch_size"], "tokens": tokens, "context": context, "heads": row["num_heads"]}
    return named(row, op=op, dtype="bf16", **sizes)


def experts(source: Source) -> Iterator[Row]:
    """A layer of experts, without its router's product; with ep 8, on the busiest of 8 GPUs."""
    for gpu, layers in EXPERTS.items():
        for program in sorted({layer[0] for layer in layers}):
            for row in source(gpu, "moe", program, "moe"):
                shape = (row["hidden_size"], row["inter_size"], row["num_experts"], row["topk"])
                if shape not in MODELS:
                    continue
                dtype, split = _dtype(row["moe_dtype"]), (row["moe_tp_size"], row["moe_ep_size"])
                whole = split == (1, 1) or (split == (1, 8) and shape == DEEPSEEK)
                if whole and (program, dtype, *shape) in layers and row["distribution"] != "power_law_1.01":
                    sizes = {"model": MODELS[shape], "tokens": row["num_tokens"]}
                    sizes |= dict(
                        zip(("hidden", "inter", "experts", "topk", "tp", "ep"), (*shape, *split), strict=True)
                    )
                    yield named(row, dtype=dtype, **sizes, distribution=row["distribution"])


def collectives(source: Source) -> Iterator[Row]:
    """What GPUs of one machine tell each other. The source counts elements, and these are bytes."""
    for gpu in GPUS:
        for row in source.nccl(gpu):
            if row["nccl_dtype"] == "half":
                sizes = {"gpus": row["num_gpus"], "bytes": 2 * row["message_size"]}
                yield {"gpu": gpu, "software": row["software"], "op": row["op_name"], "dtype": "fp16", **sizes,
                       "ms": row["latency"]}  # fmt: skip


def impossible(source: Source) -> Iterator[Row]:
    """Decode that is faster than the memory: a fault of the collector of that time, kept for a reader to find."""
    for row in source("A100-80GB-SXM", "attention", "TensorRT-LLM", "generation_attention"):
        if _of_32_heads(row) and row["num_key_value_heads"] in (8, 32) and 16 <= _context(row) <= 65536:
            yield attended(row, "decode", 1, _context(row))


TABLES: dict[str, Callable[[Source], Iterator[Row]]] = {
    "products": products,
    "attention": attention,
    "latent_attention": latent_attention,
    "experts": experts,
    "collectives": collectives,
    "impossible": impossible,
}

if __name__ == "__main__":
    main()
