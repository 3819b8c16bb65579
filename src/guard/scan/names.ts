/** The one allow-list: exact names, with rules for their arguments. What formats/ loads is on it by construction. */

import type { PickleValue } from "../../formats/index.ts";
import { NUMPY } from "./names-numpy.ts";
import { PYTHON, reconstructor, type Table } from "./names-python.ts";
import { LOADED_NAMES, type TorchScene, torchScene } from "./names-torch.ts";
import type { NameRule } from "./pickle-machine.ts";

/** Rules of one file. They hold notes of its storages, so every file has its own. */
export interface AllowList {
  readonly rules: ReadonlyMap<string, NameRule>;
  readonly torch: TorchScene;
}

/** Later tables replace earlier ones. */
const COMMON: Table = [
  ...LOADED_NAMES,
  ...PYTHON,
  ...NUMPY,
  ["copy_reg _reconstructor", reconstructor],
  ["copyreg _reconstructor", reconstructor],
];

/** Made when the first name is looked up: most parts of an archive hold none. */
export function allowList(): AllowList {
  let made: AllowList | undefined;
  const open = (): AllowList => {
    if (made) return made;
    const torch = torchScene();
    made = { rules: new Map([...COMMON, ...torch.table]), torch };
    return made;
  };
  return {
    get rules() {
      return open().rules;
    },
    get torch() {
      return open().torch;
    },
  };
}

/** Python 3 reads these names of Python 2 in protocols 0 to 2 (Lib/_compat_pickle.py, the ones that matter). */
const RENAMED: Readonly<Record<string, string>> = {
  __builtin__: "builtins",
  copy_reg: "copyreg",
  Queue: "queue",
  SocketServer: "socketserver",
  ConfigParser: "configparser",
  repr: "reprlib",
  tkFileDialog: "tkinter.filedialog",
  tkSimpleDialog: "tkinter.simpledialog",
  Tkinter: "tkinter",
  markupbase: "_markupbase",
  _winreg: "winreg",
  thread: "_thread",
  dummy_thread: "_dummy_thread",
  anydbm: "dbm",
  dbhash: "dbm.bsd",
  dumbdbm: "dbm.dumb",
  dbm: "dbm.ndbm",
  gdbm: "dbm.gnu",
  whichdb: "dbm",
  xmlrpclib: "xmlrpc.client",
  DocXMLRPCServer: "xmlrpc.server",
  SimpleXMLRPCServer: "xmlrpc.server",
  httplib: "http.client",
  htmlentitydefs: "html.entities",
  HTMLParser: "html.parser",
  Cookie: "http.cookies",
  cookielib: "http.cookiejar",
  BaseHTTPServer: "http.server",
  CGIHTTPServer: "http.server",
  SimpleHTTPServer: "http.server",
  commands: "subprocess",
  UserDict: "collections",
  UserList: "collections",
  UserString: "collections",
  urllib2: "urllib.request",
  urlparse: "urllib.parse",
  robotparser: "urllib.robotparser",
  cPickle: "pickle",
  StringIO: "io",
  cStringIO: "io",
  _elementtree: "xml.etree.ElementTree",
};

/** The module that Python 3 would import for a name of an old protocol. */
export const renamed = (module: string, protocol: number): string =>
  protocol < 3 ? (RENAMED[module] ?? module) : module;

/** Whether a value could be a module or attribute path at all. */
export const isIdentifierPath = (v: PickleValue): boolean =>
  typeof v === "string" && /^[\p{L}_][\p{L}\p{N}_]*(\.[\p{L}_][\p{L}\p{N}_]*)*$/u.test(v);
