#include "planish/tools/polygraphy/onnxrt_child.h"

namespace planish::tools {

// Frames to us as PythonChild has them: R inputs and outputs as JSON; A one array: name length in four bytes, name,
// .npy file; S name of an output that is no array; N end of a run: its seconds; E end by an error: a word, a line
// break, text. Requests on descriptor 4: number of arrays in four bytes, then per array name length, name, length in
// eight, .npy. Further outputs are appended to the model's bytes: protocol buffers merge a message that occurs twice.
std::string_view onnxrt_child_source() {
  return R"py(
import io, json, os, struct, sys, time

frames = os.fdopen(3, "wb")
requests = os.fdopen(4, "rb")

def send(kind, payload=b""):
    frames.write(kind + struct.pack("<Q", len(payload)))
    frames.write(payload)
    frames.flush()

def leave(word, text):
    send(b"E", (word + "\n" + text).encode("utf-8", "replace"))
    sys.stderr.flush()
    os._exit(0)

try:
    import numpy
    import numpy.lib.format
except ImportError as error:
    leave("numpy", "%s: %s" % (sys.executable, error))
try:
    import onnxruntime
except ImportError as error:
    leave("onnxruntime", "%s: %s" % (sys.executable, error))

def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)

def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload

def open_session(path, settings):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if settings["level"]:
        levels = {name.lower(): value for name, value in onnxruntime.GraphOptimizationLevel.__members__.items()}
        if settings["level"].lower() not in levels:
            leave("level", ", ".join(onnxruntime.GraphOptimizationLevel.__members__))
        options.graph_optimization_level = levels[settings["level"].lower()]
    available = onnxruntime.get_available_providers()
    providers = []
    for wanted in settings["providers"] or ["cpu"]:
        found = [name for name in available if name.lower().startswith(wanted.lower())]
        if not found:
            leave("provider", "%s\n%s" % (wanted, ", ".join(available)))
        providers.append(found[0])
    send(b"P", json.dumps(providers).encode())
    if not settings["outputs"]:
        return onnxruntime.InferenceSession(path, options, providers=providers)
    with open(path, "rb") as file:
        model = file.read()
    extra = b"".join(field(12, field(1, name.encode("utf-8", "surrogateescape"))) for name in settings["added"])
    options.add_session_config_entry("session.model_external_initializers_file_folder_path",
                                     os.path.dirname(os.path.abspath(path)))
    return onnxruntime.InferenceSession(model + field(7, extra), options, providers=providers)

NUMPY = {"float": "float32", "double": "float64"}

def numpy_type(text):
    inner = text[len("tensor("):-1] if text.startswith("tensor(") else ""
    return NUMPY.get(inner, inner)

def read_exactly(count):
    data = requests.read(count)
    if len(data) < count:
        os._exit(0)
    return data

def read_feed():
    feed = {}
    for _ in range(struct.unpack("<I", read_exactly(4))[0]):
        name = read_exactly(struct.unpack("<I", read_exactly(4))[0]).decode("utf-8", "surrogateescape")
        data = read_exactly(struct.unpack("<Q", read_exactly(8))[0])
        feed[name] = numpy.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    return feed

def main(path, settings):
    session = open_session(path, settings)
    inputs = [[i.name, numpy_type(i.type), [d if isinstance(d, (int, str)) else None for d in i.shape]]
              for i in session.get_inputs()]
    names = settings["outputs"] or [o.name for o in session.get_outputs()]
    send(b"R", json.dumps({"inputs": inputs}).encode())
    while True:
        feed = read_feed()
        start = time.perf_counter()
        outputs = session.run(names, feed)
        seconds = time.perf_counter() - start
        for name, array in zip(names, outputs):
            encoded = name.encode("utf-8", "surrogateescape")
            if not isinstance(array, numpy.ndarray) or array.dtype.kind not in "biuf":
                send(b"S", encoded)
                continue
            buffer = io.BytesIO()
            buffer.write(struct.pack("<I", len(encoded)) + encoded)
            numpy.lib.format.write_array(buffer, numpy.asarray(array), allow_pickle=False)
            send(b"A", buffer.getbuffer())
        send(b"N", struct.pack("<d", seconds))

try:
    main(sys.argv[1], json.loads(sys.argv[2]))
except BrokenPipeError:
    os._exit(1)
except KeyboardInterrupt:
    os._exit(130)
except Exception as error:
    leave("raised", "%s: %s" % (type(error).__name__, error))
)py";
}

}  // namespace planish::tools
