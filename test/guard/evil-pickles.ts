/** Pickles that would run something, one for each technique a scanner must see. Payloads are harmless; nothing runs them. */

import { text } from "./samples.ts";

const le4 = (n: number) => String.fromCharCode(n & 255, (n >> 8) & 255, (n >> 16) & 255, n >>> 24);
const le8 = (n: number) => le4(n) + le4(0);
const short = (s: string) => `\x8c${String.fromCharCode(s.length)}${s}`;
const short2 = (s: string) => `U${String.fromCharCode(s.length)}${s}`;
const uni = (s: string) => `X${le4(s.length)}${s}`;
const global = (module: string, name: string) => `c${module}\n${name}\n`;
const stack = (module: string, name: string) => `${short(module)}${short(name)}\x93`;
const proto = (n: number) => `\x80${String.fromCharCode(n)}`;
const ARG = `${short("echo hi")}\x85`;
const OLD = "(S'echo hi'\nt";
/** A call of posix.system, the shortest payload. */
const CALL = `${global("posix", "system")}${OLD}R`;
const NEW = `${stack("posix", "system")}${ARG}R`;
const nest = (inner: string) => `C${String.fromCharCode(inner.length)}${inner}\x85R`;
const frame = (body: string, length = body.length) => `\x95${le8(length)}${body}`;
const NOISE = "N0".repeat(600_000);

const STREAMS: Readonly<Record<string, string>> = {
  // ---- calls, protocol by protocol
  "REDUCE in protocol 0": `${CALL}.`,
  "REDUCE in protocol 1": `${global("posix", "system")}(U\x07echo hitR.`,
  "REDUCE in protocol 2": `${proto(2)}${global("posix", "system")}${uni("echo hi")}\x85R.`,
  "REDUCE in protocol 3": `${proto(3)}${global("posix", "system")}${uni("echo hi")}\x85R.`,
  "REDUCE in protocol 4": `${proto(4)}${frame(`${NEW}.`)}`,
  "REDUCE in protocol 5": `${proto(5)}${frame(`${NEW}.`)}`,
  "a protocol that does not exist": `${proto(9)}${NEW}.`,
  "a call inside a list": `](${CALL}e.`,
  "a call as a key": `}${CALL}Ns.`,
  "a call inside a frozenset": `${proto(4)}(${NEW}\x91.`,
  "a call dropped by POP_MARK": `(${CALL}1N.`,
  "a call dropped by POP": `${CALL}0N.`,
  "a call as a persistent id": `${proto(2)}${CALL}Q.`,
  "a call under honest values": `}${short("w")}]K\x01as(${short("b")}${CALL}u.`,
  // ---- names through the memo
  "names memoized by MEMOIZE": `${proto(4)}${short("posix")}\x940${short("system")}\x940h\x00h\x01\x93${ARG}R.`,
  "names memoized by LONG_BINPUT": `${proto(4)}${short("posix")}r${le4(70000)}0${short("system")}r${le4(70001)}0j${le4(70000)}j${le4(70001)}\x93${ARG}R.`,
  "names memoized by PUT": `${short("posix")}p9\n0${short("system")}p10\n0g9\ng10\n\x93${ARG}R.`,
  "a slot written again": `${proto(4)}${short("math")}q\x050${short("posix")}q\x050h\x05${short("system")}\x93${ARG}R.`,
  "PUT after DUP and POP": `${proto(4)}${short("posix")}2q\x0100${short("system")}q\x020h\x01h\x02\x93${ARG}R.`,
  "decoys under a mark": `${proto(4)}${short("posix")}q\x000${short("system")}q\x010(${short("math")}${short("sqrt")}1h\x00h\x01${short("x")}0\x93${ARG}R.`,
  "a memoized function": `${global("posix", "system")}q\x000N0h\x00${OLD}R.`,
  "MEMOIZE after PUT far away": `${proto(4)}${short("posix")}q\x050${short("x")}\x940h\x05${short("system")}\x93${ARG}R.`,
  // ---- names as text of every kind
  "names as STRING": `S'posix'\nS'system'\n\x93${ARG}R.`,
  "names as STRING with octal": `S'\\160osix'\nS'syst\\145m'\n\x93${ARG}R.`,
  "names as BINSTRING": `T${le4(5)}posix${short2("system")}\x93${ARG}R.`,
  "names as UNICODE with escapes": `Vp\\u006fsix\nVsyst\\U00000065m\n\x93${ARG}R.`,
  "names as BINUNICODE8": `\x8d${le8(5)}posix\x8d${le8(6)}system\x93${ARG}R.`,
  // ---- names computed while loading
  "a name by rot13": `${global("_codecs", "encode")}(Vbf\nVrot13\ntR${short("system")}\x93${ARG}R.`,
  "a name by decode": `${global("_codecs", "decode")}(C\x02osVutf-8\ntR${short("system")}\x93${ARG}R.`,
  "a name by str.join": `${stack("builtins", "str.join")}${short("")}(${short("o")}${short("s")}l\x86R${short("system")}\x93${ARG}R.`,
  "a name by operator.add": `${stack("operator", "add")}${short("o")}${short("s")}\x86R${short("system")}\x93${ARG}R.`,
  "a name made of allowed bytes": `${global("builtins", "bytes")}](K\x6fK\x73e\x85R${short("system")}\x93${ARG}R.`,
  "latin1 bytes as a name": `${global("_codecs", "encode")}(Vos\nVlatin1\ntR${short("system")}\x93${ARG}R.`,
  // ---- other opcodes that call
  INST: `(S'echo hi'\niposix\nsystem\n.`,
  "INST inside honest data": `](I1\n(S'echo hi'\niposix\nsystem\nI2\ne.`,
  OBJ: `(${global("posix", "system")}S'echo hi'\no.`,
  "OBJ popped": `](${global("posix", "system")}S'echo hi'\no0.`,
  "OBJ of an allowed class": "(ccollections\nOrderedDict\no.",
  NEWOBJ: `${proto(2)}${global("subprocess", "Popen")}${short("x")}\x85\x81.`,
  "NEWOBJ_EX with names": `${proto(4)}${stack("subprocess", "Popen")})}${short("args")}${short("x")}s\x92.`,
  "NEWOBJ_EX of an allowed class":
    `${proto(4)}${stack("collections", "OrderedDict")})}${short("a")}Ks\x92.`.replace(
      "Ks",
      "K\x01s",
    ),
  "BUILD on a class that is named": `${global("__main__", "Model")})\x81}${short("__setstate__")}${global("posix", "system")}sb${short("echo")}b.`,
  "BUILD on a module's function": `${global("collections", "OrderedDict")}}${short("x")}K\x01sb.`,
  "BUILD of slots on an allowed object": `${global("collections", "OrderedDict")})R(N}${short("__class__")}K\x01stb.`,
  "BUILD with __reduce__ on a set": `${global("builtins", "set")})R}${short("__reduce__")}K\x01sb.`,
  EXT1: "\x82\x07)R.",
  EXT2: "\x83\x07\x01)R.",
  EXT4: `\x84${le4(70000)})R.`,
  "the registry filled by the file": `${global("copyreg", "add_extension")}(Vposix\nVsystem\nK\xf0tR0\x82\xf0${OLD}R.`,
  NEXT_BUFFER: `${proto(5)}\x97${CALL}.`,
  // ---- walks
  "a dotted name from random": `${proto(4)}${stack("random", "_os.system")}${ARG}R.`,
  "a dotted name from torch": `${proto(4)}${stack("torch", "serialization.os.system")}${ARG}R.`,
  "a dotted name from collections": `${proto(4)}${stack("collections", "_sys.modules")}.`,
  "a dotted name from an allowed class": `${proto(4)}${stack("collections", "OrderedDict.__init__.__globals__")}.`,
  "numpy's own builtins": `${proto(4)}${stack("numpy", "__builtins__")}.`,
  "getattr of an import": `${global("builtins", "getattr")}(${global("builtins", "__import__")}(Vos\ntRVsystem\ntR${OLD}R.`,
  importlib: `${global("importlib", "import_module")}(Vos\ntR.`,
  "pkgutil.resolve_name": `${global("pkgutil", "resolve_name")}(Vos:system\ntR${OLD}R.`,
  attrgetter: `${global("operator", "attrgetter")}(Vsystem\ntR(${global("builtins", "__import__")}(Vos\ntRtR.`,
  "functools.partial": `${global("functools", "partial")}(${global("posix", "system")}Vx\ntR)R.`,
  map: `${global("builtins", "map")}(${global("posix", "system")}](Vx\netR.`,
  "import only": `${global("antigravity", "fly")}.`,
  "import of a private module": `${global("my_own_package.hooks", "run")}.`,
  // ---- Python 2's names
  commands: `${global("commands", "getoutput")}${OLD}R.`,
  __builtin__: `${global("__builtin__", "execfile")}${OLD}R.`,
  cPickle: `${global("cPickle", "loads")}(S'N.'\ntR.`,
  urllib2: `${global("urllib2", "urlopen")}${OLD}R.`,
  copy_reg: `${global("copy_reg", "_reconstructor")}(${global("subprocess", "Popen")}c__builtin__\nobject\nNtR.`,
  // ---- code inside data
  "pickle.loads of a pickle": `${global("pickle", "loads")}${nest(`${CALL}.`)}.`,
  "torch's own nested pickle": `${global("torch.storage", "_load_from_bytes")}${nest(`${CALL}.`)}.`,
  "zlib, then loads": `${global("_pickle", "loads")}(${global("zlib", "decompress")}(C\x03abctRtR.`,
  "base64, then exec": `${global("builtins", "exec")}(${global("base64", "b64decode")}(VcHJpbnQ=\ntRtR.`,
  "marshal, then a function": `${global("types", "FunctionType")}(${global("marshal", "loads")}(C\x02xxtR}tR.`,
  CodeType: `${global("types", "CodeType")}(K\x00K\x00K\x00tR.`,
  "eval of text": `${global("builtins", "eval")}(V1+1\ntR.`,
  compile: `${global("builtins", "compile")}(Vx\nVx\nVexec\ntR.`,
  // ---- allowed names, forbidden arguments
  "a size that fills memory": `${global("builtins", "bytearray")}(J\xff\xff\xff\x7ftR.`,
  "a number that never ends": `${global("fractions", "Fraction")}(V1e999999999\ntR.`,
  "a default that is a function": `${global("collections", "defaultdict")}(${global("posix", "getcwd")}tR.`,
  "a tensor with hooks": `${global("torch._utils", "_rebuild_parameter")}(N\x89${global("collections", "OrderedDict")}(](${global("posix", "system")}NeltRtR.`,
  "another class to rebuild": `${global("torch._tensor", "_rebuild_from_type_v2")}(${global("posix", "system")}${global("torch", "Tensor")})NtR.`,
  "an array of another class": `${global("numpy.core.multiarray", "_reconstruct")}(${global("subprocess", "Popen")}(K\x00tC\x01btR.`,
  // ---- streams
  "a second pickle": `N.${CALL}.`,
  "a fifth pickle": `N.N.](K\x01e.}.${CALL}.`,
  "behind raw bytes": `N.\x00\x01\x02\x03\xff\xfe${proto(2)}${CALL}.`,
  "cut off": `${CALL}`,
  "a bad opcode behind": `${CALL}\xff`,
  "a length that lies behind": `${CALL}X\xff\xff\xff\x7f`,
  "bad UTF-8 behind": `${CALL}X\x01\0\0\0\xff.`,
  "an empty stack behind": `${CALL}000000.`,
  "a bad memo behind": `${CALL}h\x77.`,
  "a bad number behind": `${CALL}Ix\n.`,
  "noise before": `${NOISE}${CALL}.`,
  "a hex integer": `I0x41\n0${CALL}.`,
  "an octal integer": `I0o17\n0${CALL}.`,
  "an integer with a NUL": `I7\0garbage\n0${CALL}.`,
  "a float with a NUL": `F1.5\0garbage\n0${CALL}.`,
  "a long with a blank": `L 12 \n0${CALL}.`,
  "an empty frame": `${proto(4)}${frame("")}${NEW}.`,
  "a frame in a frame": `${proto(4)}${frame(`${frame("N0")}${NEW}.`)}`,
  "a frame that ends inside a call": `${proto(4)}${frame(`${NEW}.`, 9)}`,
  "a frame that is too long": `${proto(4)}${frame(`${NEW}.`, 4000)}`,
  "PROTO again and again": `${proto(2)}${proto(3)}${proto(2)}${CALL}.`,
  "marks that are never closed": `((((${CALL}.`,
  "an index with a blank": `${short("posix")}p1 \n0g 1\n${short("system")}\x93${ARG}R.`,
  // ---- tampering
  "a scanner's own hooks": `${global("fickling.hook", "remove_hook")})R.`,
  "a scanner's tables": `${global("picklescan.scanner", "_safe_globals")}.`,
};

/** Functions of many modules; each is called with one text. None is special to the scanner. */
const GADGETS =
  `os.popen posix.execv nt.startfile subprocess.check_output pty.spawn platform.popen pdb.run bdb.Bdb
  code.interact codeop.compile_command timeit.timeit profile.run cProfile.runctx trace.Trace doctest.testsource runpy._run_code
  idlelib.pyshell.ModifiedInterpreter.runcode lib2to3.pgen2.pgen.ParserGenerator.make_label distutils.file_util.write_file
  ensurepip._run_pip venv.create webbrowser.open asyncio.run asyncio.unix_events._UnixSubprocessTransport._start
  multiprocessing.Process threading.Thread _thread.start_new_thread concurrent.futures.thread._WorkItem.run sched.scheduler
  cgitb.lookup unittest.loader.TestLoader pydoc.locate pydoc.pipepager rlcompleter.Completer.attr_matches tkinter.Tcl
  _posixsubprocess.fork_exec importlib.reload imp.load_source zipimport.zipimporter site.addsitedir sys.settrace gc.get_objects
  inspect.getmodule ctypes.CDLL cffi.FFI shelve.open dill.loads cloudpickle.loads jsonpickle.decode pandas.read_pickle
  joblib.load numpy.load numpy.memmap torch.load torch.hub.load torch.jit.load torch.package.PackageImporter
  torch.utils.cpp_extension.load torch.utils._config_module.load_config torch._inductor.codecache.compile_file
  torch.fx.graph_module._deserialize_graph_module torch.distributed.rpc.api.rpc_sync torch.ops.load_library
  tensorflow.io.write_file keras.models.load_model transformers.pipelines.pipeline mlflow.pyfunc.load_model
  io.open shutil.rmtree tempfile.NamedTemporaryFile fileinput.input linecache.getlines pathlib.Path.write_text
  sqlite3.connect logging.FileHandler logging.config._resolve mmap.mmap socket.create_connection ssl.get_server_certificate
  http.client.HTTPSConnection urllib.request.urlretrieve requests.post ftplib.FTP smtplib.SMTP imaplib.IMAP4_stream
  xmlrpc.client.ServerProxy paramiko.SSHClient boto3.client huggingface_hub.hf_hub_download signal.signal atexit.register
  faulthandler.register resource.setrlimit operator.methodcaller functools.reduce itertools.starmap builtins.setattr
  builtins.vars builtins.type builtins.object.__subclasses__ builtins.breakpoint types.SimpleNamespace weakref.finalize
  contextlib.ExitStack copy.deepcopy string.Formatter.vformat re.template reprlib.Repr dataclasses.make_dataclass
  collections.namedtuple enum.Enum uuid._get_command_stdout _osx_support._read_output _aix_support._read_cmd_output
  _pyrepl.pager.pipe_pager test.support.script_helper.assert_python_ok nose.tools.nontrivial IPython.get_ipython
  ansible.runner.Runner yaml.unsafe_load lxml.etree.parse numba.jit triton.compile sympy.sympify numexpr.evaluate
  pip._internal.cli.main.main setuptools.sandbox.run_setup some_new_package.module.function`
    .trim()
    .split(/\s+/);

/** All of them: technique and bytes. */
export const EVIL_PICKLES: readonly (readonly [what: string, bytes: Uint8Array])[] = [
  ...Object.entries(STREAMS).map(([what, stream]) => [what, text(stream)] as const),
  ...GADGETS.map((path, i) => {
    const dot = path.lastIndexOf(".");
    const [module, name] = [path.slice(0, dot), path.slice(dot + 1)];
    const stream =
      i % 2 ? `${proto(4)}${stack(module, name)}${ARG}R.` : `${global(module, name)}${OLD}R.`;
    return [path, text(stream)] as const;
  }),
];

/** A short one, for containers. */
export const EVIL = text(`${CALL}.`);
export const EVIL4 = text(`${proto(4)}${frame(`${NEW}.`)}`);
export const HONEST = text("\x80\x02}q\x00X\x01\0\0\0aq\x01K\x01s.");
