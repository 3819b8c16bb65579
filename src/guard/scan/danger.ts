/** What names outside of the allow-list would do, for people to read. Decides no more than how bad a finding is. */

/** A kind of harm, as the end of "… would". */
const HARM = {
  exec: "run commands or code of the file's author",
  import: "import or find code, the step before running it",
  deserialize: "load another file or stream that can run code",
  file: "read, write or delete files",
  network: "open network connections",
  process: "change or end the running process",
  attribute: "reach any attribute or function of Python",
  native: "load or compile native code",
  memory: "take unbounded memory or time",
} as const;
type Harm = keyof typeof HARM;

/** Modules by what they are used for in attacks; a module covers everything below it. */
const MODULES: Readonly<Record<Harm, string>> = {
  exec: `os posix nt posixpath ntpath os2emxpath subprocess commands popen2 pty platform pdb bdb code codeop
    timeit profile cProfile hotshot trace doctest runpy idlelib lib2to3 distutils setuptools pip ensurepip venv
    webbrowser antigravity this asyncio multiprocessing threading _thread thread concurrent sched cmd cgi cgitb
    unittest test pydoc pyclbr rlcompleter readline tkinter turtle turtledemo types functools itertools
    _posixsubprocess pexpect fabric invoke plumbum sh nose pytest _pytest IPython ipykernel jupyter
    torch.fx torch._dynamo torch._inductor torch.jit torch.package torch.hub torch.utils torch.distributed
    torch.multiprocessing torch.testing torch.serialization torch.ops torch.onnx torch.compiler torch.library
    torch.export numpy.testing numpy.distutils numpy.f2py tensorflow keras transformers
    mlflow wandb ray dask celery joblib.parallel ansible paramiko docker _osx_support _aix_support _pyrepl
    _pyio compileall py_compile symtable modulefinder aifc chunk crypt pipes mailcap msilib telnetlib`,
  import: `importlib imp pkgutil zipimport zipapp site sitecustomize usercustomize sys builtins.__import__
    __main__ _frozen_importlib _frozen_importlib_external inspect gc pkg_resources copyreg copy_reg`,
  deserialize: `pickle cPickle _pickle pickletools dill cloudpickle marshal shelve joblib jsonpickle yaml ruamel
    pandas plistlib xml torch.load torch.save numpy.load numpy.save skops hickle h5py onnx onnxruntime
    sklearn.externals zlib gzip bz2 lzma zipfile tarfile base64 binascii codecs _codecs fickling picklescan
    modelscan safetensors`,
  file: `io _io shutil tempfile fileinput glob linecache pathlib filecmp stat mmap netrc configparser
    ConfigParser csv tokenize dbm anydbm sqlite3 _sqlite3 logging zipfile tarfile numpy.savetxt numpy.loadtxt
    numpy.fromfile numpy.memmap PIL cv2 imageio nturl2path`,
  network: `socket _socket ssl _ssl socketserver SocketServer http httplib urllib urllib2 urllib3 requests httpx
    aiohttp ftplib smtplib poplib imaplib nntplib xmlrpc xmlrpclib wsgiref asyncore asynchat boto3 botocore
    huggingface_hub gcsfs s3fs fsspec twisted tornado flask django websockets`,
  process: `signal _signal resource atexit faulthandler ctypes.util gettext locale time warnings sysconfig
    syslog fcntl termios tty select selectors curses getpass spwd pwd grp contextvars`,
  attribute: `operator _operator builtins __builtin__ __builtins__ string weakref contextlib abc dataclasses
    collections enum random copy traceback reprlib pprint re sre_compile`,
  native: `ctypes _ctypes cffi _cffi_backend numpy.ctypeslib Cython pyximport numba llvmlite pycuda cupy triton
    ffi win32api win32com winreg _winreg msvcrt`,
  memory: `decimal fractions array bisect heapq`,
};

const BY_MODULE = new Map<string, Harm>();
for (const [harm, modules] of Object.entries(MODULES))
  for (const module of modules.split(/\s+/)) BY_MODULE.set(module, harm as Harm);

/** Names worth a more exact word than their module. */
const NAMES: Readonly<Record<string, Harm>> = {
  "builtins.eval": "exec",
  "builtins.exec": "exec",
  "builtins.execfile": "exec",
  "builtins.compile": "exec",
  "builtins.breakpoint": "exec",
  "builtins.input": "exec",
  "builtins.apply": "exec",
  "builtins.map": "exec",
  "builtins.filter": "exec",
  "builtins.__import__": "import",
  "builtins.open": "file",
  "builtins.file": "file",
  "builtins.print": "file",
  "builtins.exit": "process",
  "builtins.quit": "process",
  "types.CodeType": "exec",
};

/** Libraries of machine learning whose classes are legitimate in pickles of old habits: not known to be harmless. */
const LIBRARIES =
  /^(sklearn|scipy|numpy|torch|torchvision|torchaudio|timm|xgboost|lightgbm|catboost|statsmodels|networkx|gensim|spacy|nltk|tokenizers|sentencepiece|diffusers|accelerate|peft|pytorch_lightning|lightning|fastai|ultralytics|models|datasets|omegaconf|matplotlib)\b/;

export interface Danger {
  readonly severity: "malicious" | "suspicious";
  readonly would: string;
}

/** What using a name would do. @param module after Python 2's names were mapped */
export function danger(module: string, name: string): Danger {
  const exact = NAMES[`${module}.${name}`.replace(/^__builtin__\./, "builtins.")];
  if (exact) return { severity: "malicious", would: HARM[exact] };
  const parts = `${module}.${name}`.split(".");
  for (let n = parts.length; n > 0; n--) {
    const harm = BY_MODULE.get(parts.slice(0, n).join("."));
    if (harm) return { severity: "malicious", would: HARM[harm] };
  }
  // A dotted name walks from one module to whatever that one has imported.
  if (name.includes(".") || /^__.*__$/.test(name))
    return { severity: "malicious", would: HARM.attribute };
  if (LIBRARIES.test(module))
    return { severity: "suspicious", would: `run code of the library ${parts[0]} when loaded` };
  return { severity: "suspicious", would: "import this module and run what it defines" };
}
