"""Every calibration command of the tutorials that planish is made for, exactly as they write it, on small networks."""
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import planish_program
import pytest

onnx = pytest.importorskip("onnx")

DATA_LOADER_IMAGES = '''
import numpy as np

def load_data():
    for _ in range(10):
        yield {"images": np.random.uniform(0, 1, (1, 3, 640, 640)).astype(np.float32)}
'''

DATA_LOADER_FOLDER = '''
import numpy as np
from PIL import Image
import os

def load_data():
    calib_dir = "./calib_images"
    for img_name in os.listdir(calib_dir)[:100]:
        img = Image.open(os.path.join(calib_dir, img_name)).resize((224, 224))
        img_array = np.array(img).astype(np.float32) / 255.0
        img_array = np.transpose(img_array, (2, 0, 1))
        img_array = np.expand_dims(img_array, axis=0)
        yield {"input": img_array}
'''


def network(path, name, shape, outputs, quantised=False):
    """Conv, Relu, Conv, Relu, mean, Gemm; with Q/DQ around the first Conv when it is to look trained for INT8."""
    rng = np.random.default_rng(0)
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    weights = {"w1": rng.normal(0, 0.2, (16, shape[1], 5, 5)), "w2": rng.normal(0, 0.1, (32, 16, 3, 3)),
               "w3": rng.normal(0, 0.2, (outputs, 32))}
    initialisers = [numpy_helper.from_array(w.astype(np.float32), n) for n, w in weights.items()]
    nodes, x, w1 = [], name, "w1"
    if quantised:
        initialisers += [numpy_helper.from_array(np.float32(0.02), "s"), numpy_helper.from_array(np.int8(0), "z"),
                         numpy_helper.from_array(np.full(16, 0.01, np.float32), "ws"),
                         numpy_helper.from_array(np.zeros(16, np.int8), "wz")]
        nodes = [helper.make_node("QuantizeLinear", [name, "s", "z"], ["xq"]),
                 helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
                 helper.make_node("QuantizeLinear", ["w1", "ws", "wz"], ["wq"], axis=0),
                 helper.make_node("DequantizeLinear", ["wq", "ws", "wz"], ["wd"], axis=0)]
        x, w1 = "xd", "wd"
    nodes += [helper.make_node("Conv", [x, w1], ["a"], name="conv1", strides=[4, 4], pads=[2, 2, 2, 2]),
              helper.make_node("Relu", ["a"], ["b"], name="relu1"),
              helper.make_node("Conv", ["b", "w2"], ["c"], name="conv2", strides=[2, 2], pads=[1, 1, 1, 1]),
              helper.make_node("Relu", ["c"], ["d"], name="relu2"),
              helper.make_node("GlobalAveragePool", ["d"], ["e"], name="pool"),
              helper.make_node("Flatten", ["e"], ["f"], name="flatten"),
              helper.make_node("Gemm", ["f", "w3"], ["output"], name="fc", transB=1)]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [value(name, onnx.TensorProto.FLOAT, shape)],
                              [value("output", onnx.TensorProto.FLOAT, [shape[0], outputs])], initialisers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from PIL import Image
    folder = tmp_path_factory.mktemp("tutorial")
    network(folder / "yolov8n.onnx", "images", [1, 3, 640, 640], 84)
    network(folder / "yolov5s.onnx", "images", [1, 3, 640, 640], 85)
    network(folder / "resnet50.onnx", "input", [1, 3, 224, 224], 1000)
    network(folder / "model.onnx", "input", [1, 3, 224, 224], 10)
    network(folder / "resnet18_qat_cifar10.onnx", "input", [1, 3, 32, 32], 10, quantised=True)
    rng = np.random.default_rng(1)
    for name in ["calib_images", "calibration_data/class_a", "calibration_data/class_b"]:
        (folder / name).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8)).save(folder / name / f"{i}.png")
    np.save(folder / "calib_data.npy", rng.random((4, 3, 640, 640), np.float32))
    (folder / "loader_a.py").write_text(DATA_LOADER_IMAGES)
    (folder / "loader_b.py").write_text(DATA_LOADER_FOLDER)
    return folder


# Command, the file that it must leave, what it must say, and which of the two loaders is data_loader.py at that time.
COMMANDS = [
    ("polygraphy convert yolov8n.onnx --int8 --data-loader-script data_loader.py --calibration-cache yolov8.cache "
     "-o yolov8n_int8.engine", "yolov8.cache", "INT8 summary:", "a"),
    ("trtexec --loadEngine=yolov8n_int8.engine --dumpProfile --dumpLayerInfo --avgRuns=100", "", "=== Profile", "a"),
    ("trtexec --onnx=resnet50.onnx --saveEngine=resnet50_int8.engine --int8 --calib=calibration_data --dumpProfile "
     "--dumpLayerInfo", "resnet50_int8.engine", "6 pictures", ""),
    ("trtexec --loadEngine=resnet50_int8.engine --iterations=100 --dumpProfile", "", "=== Profile", ""),
    ("trtexec --onnx=resnet18_qat_cifar10.onnx --saveEngine=resnet18_qat.engine --int8 --shapes=input:1x3x32x32 "
     "--dumpProfile --dumpLayerInfo", "resnet18_qat.engine", "the scales of the model's Q/DQ nodes are used", ""),
    ("polygraphy convert model.onnx --int8 --data-loader-script ./data_loader.py --calibration-cache calib.cache",
     "calib.cache", "samples are few to calibrate on", "b"),
    ("trtexec --onnx=model.onnx --int8 --calib=calib.cache --saveEngine=model_int8.engine", "model_int8.engine",
     "ranges of", ""),
    ("trtexec --onnx=yolov5s.onnx --int8 --calib=calib_images/ --saveEngine=yolov5s_int8.engine",
     "yolov5s_int8.engine.cache", "3 pictures", ""),
    ("trtexec --onnx=yolov5s.onnx --int8 --calib=calib_data.npy --saveEngine=yolov5s_int8.engine",
     "yolov5s_int8.engine", "calibrated on 4 samples", ""),
    ("trtexec --loadEngine=yolov5s_int8.engine", "", "Throughput", ""),
    ("polygraphy inspect model yolov8n.onnx", "", "==== ONNX Model ====", ""),
    # The same as other tutorials write it.
    ("trtexec --onnx=model.onnx --int8 --fp16 --calib=calib.cache --saveEngine=model_int8.engine", "model_int8.engine",
     "ranges of", ""),
    ("trtexec --onnx=model.onnx --best --calib=calib.cache --saveEngine=model_best.engine --workspace=1024",
     "model_best.engine", "ranges of", ""),
    ("trtexec --onnx=model.onnx --int8 --calib=calib_images --saveEngine=model_int8.engine --memPoolSize=workspace:512M "
     "--noDataTransfers --useCudaGraph --useSpinWait --verbose", "model_int8.engine.cache", "3 pictures", ""),
    ("trtexec --onnx=resnet50.onnx --int8 --calib=calib_images --shapes=input:1x3x224x224 --saveEngine=r.engine "
     "--precisionConstraints=obey --layerPrecisions=conv1:fp32 --layerOutputTypes=conv1:fp32", "r.engine",
     "kept in float on request", ""),
    ("polygraphy convert model.onnx --int8 --fp16 --data-loader-script data_loader.py --calibration-cache calib2.cache "
     "--calib-base-cls IInt8MinMaxCalibrator -o model.engine", "calib2.cache", "", "b"),
    ("polygraphy convert model.onnx --int8 --data-loader-script data_loader.py:load_data --calibration-cache calib3.cache "
     "--calibration-base-class IInt8EntropyCalibrator2 --trt-min-shapes input:[1,3,224,224] "
     "--trt-opt-shapes input:[1,3,224,224] --trt-max-shapes input:[1,3,224,224] -o model.plan --convert-to trt",
     "model.plan", "", "b"),
    ("polygraphy run model.onnx --trt --int8 --data-loader-script data_loader.py --calibration-cache calib4.cache "
     "--save-engine run.engine --validate", "run.engine", "PASSED", "b"),
    ("polygraphy run model_int8.engine --trt --data-loader-script data_loader.py --save-outputs outputs.json",
     "outputs.json", "PASSED", "b"),
    ("polygraphy inspect model model_int8.engine", "", "==== TensorRT Engine ====", ""),
]


@pytest.mark.parametrize("command,leaves,says,loader", COMMANDS, ids=lambda value: value if " --" in str(value) else "")
def test_command(command, leaves, says, loader, folder):
    program = planish_program.find_program()
    if program is None:
        pytest.skip("planish is not built")
    if loader:
        (folder / "data_loader.py").write_text((folder / f"loader_{loader}.py").read_text())
    path = os.pathsep.join([str(program.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(shlex.split(command), cwd=folder, capture_output=True, text=True, timeout=300,
                          env={**os.environ, "PATH": path})
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert says in text
    if leaves:
        assert (folder / leaves).stat().st_size > 0
