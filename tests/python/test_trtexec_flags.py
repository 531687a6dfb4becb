"""Every essential and every useful flag of trtexec, by a run on the demo's model with an effect that can be seen."""
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import planish_program
import pytest

MODEL = planish_program.ROOT / "demo" / "digits.onnx"
IMAGES = planish_program.ROOT / "demo" / "images"
QUICK = ["--duration=0", "--warmUp=0", "--iterations=2", "--builderOptimizationLevel=0"]
SHAPE = "--shapes=image:2x1x32x32"
BUILD = [f"--onnx={MODEL}", SHAPE]


class Console:
    """One trtexec run in a folder of its own."""

    def __init__(self, folder, home):
        self.folder, self.home, self.text, self.code = folder, home, "", 0

    def __call__(self, *words, quick=True, code=0):
        program = planish_program.find_program()
        if program is None:
            pytest.skip("planish is not built")
        given = {word.split("=")[0] for word in words}
        extra = [word for word in QUICK if word.split("=")[0] not in given] if quick else []
        done = subprocess.run([program, "trtexec", *map(str, words), *extra], cwd=self.folder, text=True,
                              capture_output=True, timeout=300,
                              env={"HOME": str(self.home), "PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(self.home)})
        self.text = done.stdout + done.stderr
        assert done.returncode == code, self.text[-3000:]
        assert ("&&&& PASSED" if code == 0 else "&&&& FAILED") in self.text or "--help" in words or code, self.text[-500:]
        return self.text

    def has(self, *patterns):
        for pattern in patterns:
            assert re.search(pattern, self.text), f"no {pattern!r} in\n{self.text[-3000:]}"

    def lacks(self, pattern):
        assert not re.search(pattern, self.text), f"{pattern!r} in\n{self.text[-3000:]}"

    def file(self, name):
        path = self.folder / name
        assert path.exists(), f"{name} was not written: {sorted(p.name for p in self.folder.iterdir())}"
        return path

    def json(self, name):
        return json.loads(self.file(name).read_text())

    def size(self, name):
        return self.file(name).stat().st_size


@pytest.fixture
def t(tmp_path, tmp_path_factory):
    return Console(tmp_path, tmp_path_factory.getbasetemp())


def queries(text):
    return int(re.search(r"Timing trace has (\d+) queries", text)[1])


def median_ms(text):
    return float(re.search(r"GPU Compute Time:.*?median = ([\d.e+-]+) ms", text)[1])


def saved(t, *words, name="a.engine"):
    t(*BUILD, f"--saveEngine={name}", "--skipInference", *words)
    return t.size(name)


def write_inputs(t):
    values = np.random.default_rng(0).random((2, 1, 32, 32), np.float32)
    values.tofile(t.folder / "in.bin")
    return values


def reference(t):
    """Inputs and the outputs that the engine itself gives for them."""
    write_inputs(t)
    t(*BUILD, "--loadInputs=image:in.bin", "--exportOutput=out.json")
    output = t.json("out.json")[0]
    np.array(output["values"], np.float32).tofile(t.folder / "ref.bin")
    return output["name"]


# --- essential ---------------------------------------------------------------------------------------------------------

def onnx(t):
    t(*BUILD)
    t.has("Finished parsing network model", "Engine built in", "Throughput")


def help_(t):
    t("--help", quick=False)
    t.has("--saveEngine", "--exportLayerInfo")


def shapes_min(t):
    t(f"--onnx={MODEL}", "--minShapes=image:3x1x32x32")
    t.has(r"min shape 3x1x32x32 is used|opt and max shape of input 'image' not given", "dimensions 3x1x32x32")


def shapes_opt(t):
    t(f"--onnx={MODEL}", "--minShapes=image:1x1x32x32", "--optShapes=image:5x1x32x32", "--maxShapes=image:9x1x32x32")
    t.has("dimensions 5x1x32x32")


def shapes_max(t):
    words = [f"--onnx={MODEL}", "--minShapes=image:1x1x32x32", "--optShapes=image:2x1x32x32", "--maxShapes=image:4x1x32x32"]
    t(*words, "--saveEngine=e", "--skipInference")
    t("--loadEngine=e", "--shapes=image:4x1x32x32")
    t("--loadEngine=e", "--shapes=image:5x1x32x32", code=1)
    t.has("axis 0: 5 was asked for, profile 0 allows 1 to 4")


def mem_pool(t):
    t(*BUILD, "--memPoolSize=workspace:64", "--builderOptimizationLevel=1")
    t.has("Activation memory: .* peak at layer", "Memory for timing tactics: .* at layer|Engine built")
    t(*BUILD, "--memPoolSize=workspace:1K", code=1)
    t.has(r"needs? \d+ KiB.* the limit is 1 KiB.* raise the limit to --memPoolSize=workspace:1")


def verbosity(t):
    t(*BUILD, "--profilingVerbosity=layer_names_only", "--exportLayerInfo=l.json")
    assert all(isinstance(layer, str) for layer in t.json("l.json")["Layers"])


def fp16(t):
    assert saved(t, "--fp16", name="half") < 0.8 * saved(t, name="full")


def int8(t):
    t(*BUILD, "--int8", f"--calib={IMAGES}", "--saveEngine=e")
    t.has("alibrat")


def best(t):
    t(*BUILD, "--best", "--verbose")
    t.has("FP16|BF16")


def constraints(t):
    t(*BUILD, "--fp16", "--precisionConstraints=obey", "--layerPrecisions=*:fp32", "--exportLayerInfo=l.json")
    layers = t.json("l.json")["Layers"]
    assert {layer["Precision"] for layer in layers} <= {"FP32", "INT64"}


def layer_precisions(t):
    whole = saved(t, "--fp16", name="half")
    kept = saved(t, "--fp16", "--precisionConstraints=obey", "--layerPrecisions=*:fp32", name="kept")
    assert kept > 1.2 * whole


def fallback(t):
    t(*BUILD, "--useDLACore=0", "--allowGPUFallback", "--exportLayerInfo=l.json")
    t.has("Unsupported on DLA. Switching this layer's device type to GPU", r"DLA: \d+ layers", r"\d+ transitions")
    assert {layer["Device"] for layer in t.json("l.json")["Layers"]} == {"DLA", "CPU"}


def dla(t):
    t(*BUILD, "--useDLACore=0", code=1)
    t.has("Unsupported on DLA", "Cannot create DLA engine: .* layers cannot run on a DLA")


def save_engine(t):
    assert saved(t) > 10_000


def load_engine(t):
    saved(t)
    t("--loadEngine=a.engine")
    t.has("Engine loaded in", "Engine deserialized in")


def timing_cache(t):
    t(*BUILD, "--timingCacheFile=c", "--builderOptimizationLevel=1", "--verbose", "--skipInference")
    assert t.size("c") > 0
    t(*BUILD, "--timingCacheFile=c", "--builderOptimizationLevel=1", "--verbose", "--skipInference")
    assert int(re.search(r"Timing cache: (\d+) hits", t.text)[1]) > 0


def optimization_level(t):
    t(*BUILD, "--builderOptimizationLevel=0", "--noBuilderCache", "--verbose", "--skipInference")
    t.has("0 hits, 0 misses")
    t(*BUILD, "--builderOptimizationLevel=1", "--noBuilderCache", "--verbose", "--skipInference")
    t.has(r"\d+ hits, [1-9]\d* misses")
    t(*BUILD, "--builderOptimizationLevel=6", code=1)


def device(t):
    t(*BUILD, "--device=cpu")
    t(*BUILD, "--device=3", code=1)
    t.lacks("&&&& FAILED")


def run_shapes(t):
    t(*BUILD)
    t.has("input binding for image with dimensions 2x1x32x32")


def load_inputs(t):
    write_inputs(t)
    t(*BUILD, "--loadInputs=image:in.bin")
    t.lacks("Using random values for input image")


def iterations(t):
    t(*BUILD, "--iterations=37")
    assert queries(t.text) == 37


def warm_up(t):
    t(*BUILD, "--warmUp=50")
    assert float(re.search(r"Warmup completed \d+ queries over ([\d.]+) ms", t.text)[1]) >= 40


def duration(t):
    t(*BUILD, "--duration=0.5", "--iterations=1")
    assert queries(t.text) > 1
    assert float(re.search(r"Timing trace has \d+ queries over ([\d.]+) s", t.text)[1]) >= 0.5


def streams(t):
    t(*BUILD, "--infStreams=2", "--iterations=20")
    assert queries(t.text) >= 40


def streams_old(t):
    t(*BUILD, "--streams=2")
    t.has("--streams is the old name of --infStreams", "stream")


def no_transfers(t):
    t(*BUILD, "--noDataTransfers")
    t.has("H2D Latency: min = 0 ms", "Data transfers: Disabled|DataTransfers: Disabled|[Tt]ransfers")


def spin_wait(t):
    t(*BUILD, "--useSpinWait")
    t.has("--useSpinWait has no effect|Spin-?wait: Enabled")


def threads(t):
    t(*BUILD, "--threads", "--infStreams=2")
    t.has("every stream has a host thread", "stream")


def cuda_graph(t):
    t(*BUILD, "--useCudaGraph")
    t.has("--useCudaGraph has no effect")


def separate_profile(t):
    t(*BUILD, "--separateProfileRun", "--dumpProfile")
    t.has("=== Performance summary ===", r"=== Profile \(")


def skip_inference(t):
    t(*BUILD, "--skipInference")
    t.has("Skipped inference phase")
    t.lacks("Performance summary")


def verbose(t):
    t(*BUILD, "--verbose")
    t.has(r"\] \[V\] ")


def avg_runs(t):
    t(*BUILD, "--avgRuns=3", "--iterations=9")
    t.has("Trace averages of 3 runs:")


def percentile(t):
    t(*BUILD, "--percentile=12,88")
    t.has(r"percentile\(12%\)", r"percentile\(88%\)")


def dump_output(t):
    t(*BUILD, "--dumpOutput")
    t.has("Output Tensors:", r": \(2x10\)")


def dump_profile(t):
    t(*BUILD, "--dumpProfile")
    t.has(r"Time\(ms\)\s+Avg.\(ms\)\s+Median\(ms\)\s+Time\(%\)\s+Layer", r"100.0   Total", "Latency: min")


def dump_layers(t):
    t(*BUILD, "--dumpLayerInfo")
    t.has("Layer Information:", "Name: .*LayerType: Convolution.*TacticName: .*Metadata: ", "Bindings:")


def export_times(t):
    t(*BUILD, "--exportTimes=f")
    rows = t.json("f")
    assert len(rows) >= 2 and list(rows[0])[:2] == ["startEnqMs", "endEnqMs"] and "latencyMs" in rows[0]


def export_output(t):
    t(*BUILD, "--exportOutput=f")
    assert t.json("f")[0]["dimensions"] == "2x10" and len(t.json("f")[0]["values"]) == 20


def export_profile(t):
    t(*BUILD, "--exportProfile=f", "--exportLayerInfo=l")
    rows = t.json("f")
    assert rows[0]["count"] >= 1 and set(rows[1]) == {"name", "timeMs", "averageMs", "medianMs", "percentage"}
    assert {row["name"] for row in rows[1:]} <= {layer["Name"] for layer in t.json("l")["Layers"]}


def export_layers(t):
    t(*BUILD, "--exportLayerInfo=f")
    info = t.json("f")
    assert {"Layers", "Bindings", "I/O Tensors"} <= set(info) and info["Layers"][0]["OnnxNodes"]


def workspace(t):
    t(*BUILD, "--workspace=64")
    t.has("read as --memPoolSize=workspace:64")


def batch(t):
    t(f"--onnx={MODEL}", "--batch=3")
    t.has("dimensions 3x1x32x32")


# --- useful ------------------------------------------------------------------------------------------------------------

def profiles(t):
    t(f"--onnx={MODEL}", "--profile=0", "--optShapes=image:1x1x32x32", "--profile=1", "--optShapes=image:4x1x32x32",
      "--useProfile=1", "--dumpOptimizationProfile")
    t.has("dimensions 4x1x32x32", "[Pp]rofile 1")


def calibration_shapes(t):
    t(*BUILD, "--int8", f"--calib={IMAGES}", "--minShapesCalib=image:4x1x32x32", "--optShapesCalib=image:4x1x32x32",
      "--maxShapesCalib=image:4x1x32x32")
    t.has("alibrat")


def calibration_profile(t):
    t(*BUILD, "--int8", f"--calib={IMAGES}", "--calibProfile=0")
    t.has("alibrat")


def input_formats(t):
    t(*BUILD, "--inputIOFormats=fp16:chw", "--exportLayerInfo=l")
    tensors = {tensor["Name"]: tensor["DataType"] for tensor in t.json("l")["I/O Tensors"]}
    assert "16" in tensors["image"] or tensors["image"] == "Half", tensors
    t(*BUILD, "--inputIOFormats=fp16:chw,fp16:chw", code=1)


def output_formats(t):
    t(*BUILD, "--outputIOFormats=fp16:chw", "--dumpRawBindingsToFile")
    assert [p.stat().st_size for p in t.folder.glob("*.output.2.10.fp16.raw")] == [40]


def avg_timing(t):
    t(*BUILD, "--avgTiming=2", "--builderOptimizationLevel=1", "--noBuilderCache", "--verbose", "--skipInference")
    t.has(r"[1-9]\d* misses", "avgTiming: 2")


def refit(t):
    saved(t, "--refit", name="e")
    t("--loadEngine=e", "--refitFromOnnx", f"--onnx={MODEL}")
    t.has("Engine refitted with the weights of")
    saved(t, name="plain")
    t("--loadEngine=plain", "--refitFromOnnx", f"--onnx={MODEL}", code=1)
    t.has("built without --refit")


def strip_weights(t):
    whole = saved(t, name="whole")
    assert saved(t, "--stripWeights", name="e") < whole / 2
    t("--loadEngine=e", code=1)
    t.has("written without weights", "--refitFromOnnx")


def refit_from_onnx(t):
    write_inputs(t)
    t(*BUILD, "--stripAllWeights", "--saveEngine=e", "--loadInputs=image:in.bin", "--exportOutput=whole.json")
    t("--loadEngine=e", "--refitFromOnnx", f"--onnx={MODEL}", SHAPE, "--loadInputs=image:in.bin",
      "--exportOutput=again.json")
    np.testing.assert_allclose(t.json("again.json")[0]["values"], t.json("whole.json")[0]["values"], rtol=1e-4, atol=1e-5)


def asymmetric(t):
    t(*BUILD, "--uint8AsymmetricQuantizationDLA")
    t.has("planish always keeps them")


def dla_report(t):
    t(*BUILD, "--reportCapabilityDLA")
    t.has("Unsupported on DLA", "DLA partition")


def monitor_memory(t):
    t(*BUILD, "--monitorMemory")
    t.has(r"Peak memory of the process after the build: [\d.]+ MiB")


def sparsity(t):
    write_inputs(t)
    t(*BUILD, "--loadInputs=image:in.bin", "--exportOutput=dense.json")
    t(*BUILD, "--loadInputs=image:in.bin", "--exportOutput=sparse.json", "--sparsity=force")
    t.has("--sparsity=force: ([1-9]\\d*) of \\1 products")
    assert t.json("dense.json")[0]["values"] != t.json("sparse.json")[0]["values"]
    t(*BUILD, "--sparsity=enable")
    t.has("--sparsity=enable: 0 of")


def no_tf32(t):
    t(*BUILD, "--noTF32")
    t.has("full precision anyway")


def bf16(t):
    assert saved(t, "--bf16", name="half") < 0.8 * saved(t, name="full")


def strongly_typed(t):
    t(*BUILD, "--stronglyTyped", "--fp16", "--exportLayerInfo=l")
    t.has("types follow the model")
    assert all(layer["Precision"] != "FP16" for layer in t.json("l")["Layers"])


def layer_output_types(t):
    t(*BUILD, "--fp16", "--precisionConstraints=prefer", "--layerOutputTypes=*:fp32", "--exportLayerInfo=l")
    t.lacks("not applied")
    # Where the processor multiplies in FP16, a copy in front of a layer may still round what it reads.
    for layer in t.json("l")["Layers"]:
        if layer["LayerType"] != "Reformat":
            assert all("FP16" not in tensor["Datatype"] for tensor in layer["Outputs"]), layer


def layer_devices(t):
    t(*BUILD, "--layerDeviceTypes=*:DLA", "--exportLayerInfo=l")
    t.has("DLA partition")
    assert "DLA" in {layer["Device"] for layer in t.json("l")["Layers"]}


def plan_version(t):
    saved(t)
    t("--loadEngine=a.engine", "--getPlanVersionOnly")
    t.has("Engine version: planish")
    t.lacks("Performance summary")


def tactic_sources(t):
    for source, gone in (("ONEDNN", "cpu.onednn"), ("PLANISH", "cpu.pointwise|cpu.softmax|cpu.move|cpu.winograd"),
                         ("WINOGRAD", "cpu.winograd"), ("STRASSEN", "cpu.strassen")):
        t(*BUILD, f"--tacticSources=-{source}", "--exportLayerInfo=l")
        assert not any(re.match(gone, layer.get("TacticName", "")) for layer in t.json("l")["Layers"]), source
    t(*BUILD, "--tacticSources=ONEDNN", code=1)
    t(*BUILD, "--tacticSources=-NOTHING", code=1)


def no_builder_cache(t):
    # A second layer of the same shape may still find the time that this very build took.
    for _ in range(2):
        t(*BUILD, "--noBuilderCache", "--builderOptimizationLevel=1", "--verbose", "--skipInference")
        hits, misses = (int(n) for n in re.search(r"Timing cache: (\d+) hits, (\d+) misses", t.text).groups())
        assert hits < misses / 4, t.text


def cache_miss(t):
    t(*BUILD, "--errorOnTimingCacheMiss", "--timingCacheFile=empty", "--builderOptimizationLevel=1", code=1)
    t.has("the timing cache has no time for tactic")


def max_tactics(t):
    def misses(*words):
        t(*BUILD, "--builderOptimizationLevel=3", "--avgTiming=1", "--noBuilderCache", "--verbose", "--skipInference", *words)
        return int(re.search(r"(\d+) misses", t.text)[1])
    assert misses("--maxTactics=1") < misses()


def hardware_compatibility(t):
    t(*BUILD, "--hardwareCompatibilityLevel=ampere+")
    t.has("every planish engine runs on every CPU")


def temp_dir(t):
    t(*BUILD, "--tempdir=/tmp")
    t.has("the only temporary file is the engine being saved")


def aux_streams(t):
    t(*BUILD, "--maxAuxStreams=2")
    t.has("layers run one after the other")


def inner_tensor(t):
    t(*BUILD, "--exportLayerInfo=l", "--disablePasses=fuse_activation")
    onnx_package = pytest.importorskip("onnx")
    nodes = onnx_package.load(MODEL).graph.node
    return next(node.output[0] for node in nodes if node.op_type == "Relu")


def mark_debug(t):
    name = inner_tensor(t)
    t(*BUILD, f"--markDebug={name}", f"--saveDebugTensors={name}:d.npy")
    assert np.load(t.file("d.npy")).min() >= 0
    t(*BUILD, "--markDebug=nothing", code=1)
    t.has("the model has no such tensor")


def mark_unfused(t):
    t(*BUILD, "--markUnfusedTensorsAsDebugTensors", "--saveAllDebugTensors=summary")
    assert len(re.findall("Debug tensor .* min = ", t.text)) > 2


def save_debug(t):
    name = inner_tensor(t)
    t(*BUILD, f"--markDebug={name}", f"--saveDebugTensors={name}:d.bin", f"--saveAllDebugTensors=summary,numpy,string,raw")
    assert t.size("d.bin") % 4 == 0 and t.size("d.bin") > 0
    for pattern in ("*.npy", "*.txt", "*.raw"):
        assert len(list(t.folder.glob(pattern))) == 1, pattern
    saved(t)
    t("--loadEngine=a.engine", f"--saveDebugTensors={name}:d.bin", code=1)
    t.has("was not marked")


def sleep_time(t):
    t(*BUILD, "--sleepTime=20")
    t.has("Enqueue Time: min = 2[0-9]")


def idle_time(t):
    t(*BUILD, "--idleTime=30", "--iterations=3", "--exportTimes=f")
    starts = [row["startComputeMs"] for row in t.json("f")]
    assert min(b - a for a, b in zip(starts, starts[1:])) >= 30


def expose_dma(t):
    t(*BUILD, "--exposeDMA")
    t.has("nothing is copied on the CPU")


def include_transfers(t):
    t(*BUILD, "--noDataTransfers", "--includeDataTransfers")
    t.has("H2D Latency: min = 0 ms")


def managed_memory(t):
    t(*BUILD, "--useManagedMemory")
    t.has("host and device share memory")


def no_spin_wait(t):
    t(*BUILD, "--useSpinWait", "--noSpinWait")
    t.has("Throughput")


def no_cuda_graph(t):
    t(*BUILD, "--useCudaGraph", "--noCudaGraph")
    t.has("Throughput")


def time_deserialize(t):
    saved(t)
    t("--loadEngine=a.engine", "--timeDeserialize")
    t.has("Deserialization time over 10 loads: min = ")
    t.lacks("Performance summary")


def time_refit(t):
    t(*BUILD, "--refit", "--timeRefit")
    t.has(r"Engine refitted in [\d.e-]+ sec")


def allocation(t):
    t(*BUILD, "--allocationStrategy=runtime")
    t.has("always sized for the actual shapes")
    t(*BUILD, "--allocationStrategy=never", code=1)


def accuracy(t):
    name = reference(t)
    words = [*BUILD, "--loadInputs=image:in.bin", f"--loadRefOutputs={name}:ref.bin"]
    for algorithm in ("l0", "l1", "l2", "lInf", "cos"):
        t(*words, "--accuracyThreshold=0.01", f"--accuracyAlgorithm={algorithm}", "--atol=1e-3", "--rtol=1e-3")
        t.has("loss = ")
    np.zeros(20, np.float32).tofile(t.folder / "ref.bin")
    t(*words, "--accuracyThreshold=0.01", "--accuracyAlgorithm=l2", code=1)
    t(*words, "--accuracyThreshold=0.01", "--accuracyAlgorithm=l0", "--atol=1e6")
    t(*words, code=1)
    t.has("needs --accuracyThreshold")


def ref_pair(t):
    name = reference(t)
    t(*BUILD, "--refPair=0", "--loadInputs=image:in.bin", f"--loadRefOutputs={name}:ref.bin", "--refPair=1",
      "--loadInputs=image:in.bin", f"--loadRefOutputs={name}:ref.bin", "--accuracyThreshold=0.1", "--atol=1e-3")
    assert t.text.count("loss = ") == 2


ROUTES = "-avgTiming=[1|2] -builderOptimizationLevel=[0|1]"


def tune(t):
    t(*BUILD, f"--tuneBuildRoutes={ROUTES}", "--tuningSearch=full", "--tuningCacheFile=c", "--saveEngine=e",
      "--saveAllEngines")
    t.has('Best route: --setBuildRoute=')
    assert len(t.file("c").read_text().splitlines()) == 5 and len(list(t.folder.glob("e.iter*"))) == 4
    t("--continue", "--tuningCacheFile=c", quick=False)
    t.lacks("TASK_BEGIN")


def tune_file(t):
    (t.folder / "routes").write_text(ROUTES)
    t(*BUILD, "--tuneBuildRouteFile=routes", "--dryRun", "--tuningSearch=full")
    t.has("4 routes")


def tuning_search(t):
    t(*BUILD, f"--tuneBuildRoutes={ROUTES}", "--dryRun", "--tuningSearch=fast")
    t.has("[34] routes")
    t(*BUILD, f"--tuneBuildRoutes={ROUTES}", "--dryRun", "--tuningSearch=mixed", code=1)


def tuning_timeout(t):
    t(*BUILD, "--tuneBuildRoutes=-avgTiming=[1|2|3|4|5|6]", "--tuningTimeOut=0.001")
    assert t.text.count("TASK_BEGIN") < 6


def help_route(t):
    t("--helpBuildRoute", quick=False)
    t.has("builderOptimizationLevel")


def set_route(t):
    t(*BUILD, "--setBuildRoute=-builderOptimizationLevel=1", "--noBuilderCache", "--verbose")
    t.has(r"[1-9]\d* misses")


def dump_refit(t):
    t(*BUILD, "--refit", "--dumpRefit")
    t.has("Refittable weights:\n", r"kernel \(float32")


def raw_bindings(t):
    t(*BUILD, "--dumpRawBindingsToFile")
    assert t.size("image.input.2.1.32.32.fp32.raw") == 2 * 32 * 32 * 4


def dump_profiles(t):
    t(f"--onnx={MODEL}", "--minShapes=image:1x1x32x32", "--optShapes=image:2x1x32x32", "--maxShapes=image:7x1x32x32",
      "--dumpOptimizationProfile")
    t.has("1x1x32x32", "7x1x32x32")


ESSENTIAL = {
    "--onnx": onnx, "--help": help_, "--minShapes": shapes_min, "--optShapes": shapes_opt, "--maxShapes": shapes_max,
    "--memPoolSize": mem_pool, "--profilingVerbosity": verbosity, "--fp16": fp16, "--int8": int8, "--best": best,
    "--precisionConstraints": constraints, "--layerPrecisions": layer_precisions, "--calib": int8,
    "--allowGPUFallback": fallback, "--saveEngine": save_engine, "--loadEngine": load_engine,
    "--timingCacheFile": timing_cache, "--builderOptimizationLevel": optimization_level, "--device": device,
    "--useDLACore": dla, "--shapes": run_shapes, "--loadInputs": load_inputs, "--iterations": iterations,
    "--warmUp": warm_up, "--duration": duration, "--infStreams": streams, "--streams": streams_old,
    "--noDataTransfers": no_transfers, "--useSpinWait": spin_wait, "--threads": threads, "--useCudaGraph": cuda_graph,
    "--separateProfileRun": separate_profile, "--skipInference": skip_inference, "--verbose": verbose,
    "--avgRuns": avg_runs, "--percentile": percentile, "--dumpOutput": dump_output, "--dumpProfile": dump_profile,
    "--dumpLayerInfo": dump_layers, "--exportTimes": export_times, "--exportOutput": export_output,
    "--exportProfile": export_profile, "--exportLayerInfo": export_layers, "--workspace": workspace, "--batch": batch,
}

USEFUL = {
    "--profile": profiles, "--minShapesCalib": calibration_shapes, "--optShapesCalib": calibration_shapes,
    "--maxShapesCalib": calibration_shapes, "--calibProfile": calibration_profile, "--inputIOFormats": input_formats,
    "--outputIOFormats": output_formats, "--avgTiming": avg_timing, "--refit": refit, "--stripWeights": strip_weights,
    "--stripAllWeights": refit_from_onnx, "--uint8AsymmetricQuantizationDLA": asymmetric,
    "--reportCapabilityDLA": dla_report, "--monitorMemory": monitor_memory, "--sparsity": sparsity, "--noTF32": no_tf32,
    "--bf16": bf16, "--stronglyTyped": strongly_typed, "--layerOutputTypes": layer_output_types,
    "--layerDeviceTypes": layer_devices, "--getPlanVersionOnly": plan_version, "--tacticSources": tactic_sources,
    "--noBuilderCache": no_builder_cache, "--errorOnTimingCacheMiss": cache_miss, "--maxTactics": max_tactics,
    "--hardwareCompatibilityLevel": hardware_compatibility, "--tempdir": temp_dir, "--maxAuxStreams": aux_streams,
    "--markDebug": mark_debug, "--markUnfusedTensorsAsDebugTensors": mark_unfused, "--refitFromOnnx": refit_from_onnx,
    "--sleepTime": sleep_time, "--idleTime": idle_time, "--exposeDMA": expose_dma,
    "--includeDataTransfers": include_transfers, "--useManagedMemory": managed_memory, "--noSpinWait": no_spin_wait,
    "--noCudaGraph": no_cuda_graph, "--timeDeserialize": time_deserialize, "--timeRefit": time_refit,
    "--useProfile": profiles, "--allocationStrategy": allocation, "--saveDebugTensors": save_debug,
    "--saveAllDebugTensors": save_debug, "--loadRefOutputs": accuracy, "--accuracyAlgorithm": accuracy,
    "--atol": accuracy, "--rtol": accuracy, "--accuracyThreshold": accuracy, "--refPair": ref_pair,
    "--tuneBuildRoutes": tune, "--tuneBuildRouteFile": tune_file, "--tuningSearch": tuning_search,
    "--tuningCacheFile": tune, "--tuningTimeOut": tuning_timeout, "--saveAllEngines": tune, "--dryRun": tune_file,
    "--continue": tune, "--helpBuildRoute": help_route, "--setBuildRoute": set_route, "--dumpRefit": dump_refit,
    "--dumpRawBindingsToFile": raw_bindings, "--dumpOptimizationProfile": dump_profiles,
}

# One run shows several flags: each case runs once and is named after all of them.
CASES = {}
for flag, case in {**ESSENTIAL, **USEFUL}.items():
    CASES.setdefault(case, []).append(flag.lstrip("-"))


def test_the_table_is_complete():
    assert len(ESSENTIAL) == 45 and len(USEFUL) == 63


@pytest.mark.parametrize("case", [pytest.param(case, id="+".join(flags)) for case, flags in CASES.items()])
def test_flag_has_its_effect(t, case):
    case(t)
