#include "planish/tools/script_loader.h"

namespace planish::tools {

// Frames (see PythonChild): R ready; A one array: name length in four bytes, name, .npy file; N end of an item; B an
// item that cannot be used, a sentence; Z end of the data; E end by an error: a word, a line break, text.
std::string_view script_child_source() {
  return R"py(
import importlib.util, io, json, os, struct, sys, threading, traceback

def leave_with_parent():
    while os.read(4, 1):
        pass
    os._exit(1)

threading.Thread(target=leave_with_parent, daemon=True).start()
frames = os.fdopen(3, "wb")

def send(kind, payload=b""):
    frames.write(kind + struct.pack("<Q", len(payload)))
    frames.write(payload)
    frames.flush()

def leave(word, text):
    send(b"E", (word + "\n" + text).encode("utf-8", "replace"))
    frames.close()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)

def own_traceback(error):
    trace = error.__traceback__
    hidden = ("<string>", "<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>")
    while trace is not None and trace.tb_frame.f_code.co_filename in hidden:
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()

def guarded(word, call):
    try:
        return call()
    except KeyboardInterrupt:
        os._exit(130)
    except SystemExit as error:
        leave(word, "SystemExit: the script called sys.exit(%s)" % ("" if error.code is None else repr(error.code)))
    except BaseException as error:
        leave(word, own_traceback(error))

try:
    import numpy
    import numpy.lib.format
except ImportError as error:
    leave("numpy", "%s: %s" % (sys.executable, error))

class Metadata:
    def __init__(self, dtype, shape):
        self.dtype, self.shape = dtype, shape
    def __iter__(self):
        return iter((self.dtype, self.shape))

def metadata_of(text):
    out = {}
    for name, dtype, shape in json.loads(text):
        try:
            dtype = numpy.dtype(dtype)
        except TypeError:
            dtype = None
        out[name] = Metadata(dtype, tuple(shape))
    return out

def load_module(path):
    name = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(name, module)
    spec.loader.exec_module(module)
    return module

def array_of(value):
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
        value = value.numpy()
    elif hasattr(value, "numpy") and not isinstance(value, numpy.ndarray):
        value = value.numpy()
    if isinstance(value, (int, bool)) and not isinstance(value, numpy.generic):
        raise TypeError("the value is a bare integer; device pointers are not supported")
    array = numpy.asarray(value)
    if array.dtype.hasobject or array.dtype.kind not in "biufV":
        raise TypeError("the value is a %s that holds no numbers" % type(value).__name__)
    return array

def send_item(item):
    if not hasattr(item, "items"):
        return send(b"B", ("is a %s, not a dictionary of input name to array" % type(item).__name__).encode())
    arrays = []
    for name, value in item.items():
        try:
            arrays.append((str(name), array_of(value)))
        except Exception as error:
            return send(b"B", ("'%s': %s" % (name, error)).encode("utf-8", "replace"))
    for name, array in arrays:
        encoded = name.encode("utf-8", "surrogateescape")
        buffer = io.BytesIO()
        buffer.write(struct.pack("<I", len(encoded)) + encoded)
        if array.dtype.name == "bfloat16":
            array = array.astype(numpy.float32)
        numpy.lib.format.write_array(buffer, array, allow_pickle=False)
        send(b"A", buffer.getbuffer())
    send(b"N")

def main(path, function, inputs):
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    sys.argv = [path]
    module = guarded("import", lambda: load_module(path))
    if not callable(getattr(module, function, None)):
        found = [n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == module.__name__]
        leave("function", ", ".join(found))
    loader = guarded("raised", getattr(module, function))
    if loader is None or not (hasattr(loader, "__iter__") or hasattr(loader, "__getitem__")):
        leave("iterable", type(loader).__name__)
    if not isinstance(loader, (list, tuple)):
        try:
            loader.input_metadata = metadata_of(inputs)
        except Exception:
            pass
    send(b"R")
    walk = guarded("raised", lambda: iter(loader))
    end = object()
    while True:
        item = guarded("raised", lambda: next(walk, end))
        if item is end:
            break
        send_item(item)
    send(b"Z")

try:
    main(*sys.argv[1:4])
except BrokenPipeError:
    os._exit(1)
sys.stdout.flush()
sys.stderr.flush()
os._exit(0)
)py";
}

}  // namespace planish::tools
