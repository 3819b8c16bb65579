/** A folder on disk for a ledger: writes that are on the disk when they say so. Knows no ledger. */

import type { FileHandle } from "node:fs/promises";
import { node } from "../../formats/builtins.node.ts";
import { InputError } from "../../formats/errors.ts";
import type { Disk } from "./disk.ts";

const isAbsent = (error: unknown): boolean =>
  ["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "");

/** Opening a folder to sync it is not possible on Windows, and not needed there. */
async function syncFolder(path: string): Promise<void> {
  if (node.path.sep === "\\") return;
  const folder = await node.fs.open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Makes a folder and its parents so that a power cut does not take them. */
async function makeFolder(path: string): Promise<void> {
  const first = await node.fs.mkdir(path, { recursive: true });
  if (first === undefined) return;
  for (let at = path; at.length >= first.length; at = node.path.dirname(at))
    await syncFolder(node.path.dirname(at));
}

async function writeAll(file: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, at + done);
    done += bytesWritten;
  }
}

/** The disk of a folder. It is made with the first file. */
export function folderDisk(folder: string): Disk {
  const { join, dirname } = node.path;
  const root = node.path.resolve(folder);
  const inside = (path: string) => join(root, path);
  /** The file that is appended to all the time stays open. */
  let open: { path: string; file: FileHandle } | undefined;
  const close = async () => {
    const was = open;
    open = undefined;
    await was?.file.close();
  };
  return {
    async read(path) {
      try {
        return new Uint8Array(await node.fs.readFile(inside(path)));
      } catch (error) {
        if (isAbsent(error)) return undefined;
        throw error;
      }
    },
    async replace(path, bytes) {
      if (open?.path === path) await close();
      const target = inside(path);
      await makeFolder(dirname(target));
      const part = `${target}.part`;
      const file = await node.fs.open(part, "w");
      try {
        await writeAll(file, bytes, 0);
        await file.sync();
      } finally {
        await file.close();
      }
      await node.fs.rename(part, target);
      await syncFolder(dirname(target));
    },
    async write(path, bytes, { at, sync }) {
      if (open?.path !== path) {
        await close();
        open = { path, file: await node.fs.open(inside(path), "r+") };
      }
      await writeAll(open.file, bytes, at);
      if (sync) await open.file.datasync();
    },
    async truncate(path, size) {
      if (open?.path === path) await close();
      const file = await node.fs.open(inside(path), "r+");
      try {
        await file.truncate(size);
        await file.sync();
      } finally {
        await file.close();
      }
    },
    async remove(path) {
      await node.fs.rm(inside(path), { force: true });
    },
    async list(below) {
      try {
        const entries = await node.fs.readdir(inside(below), {
          recursive: true,
          withFileTypes: true,
        });
        return entries
          .filter((entry) => !entry.isDirectory())
          .map((entry) =>
            node.path
              .relative(root, join(entry.parentPath, entry.name))
              .split(node.path.sep)
              .join("/"),
          )
          .sort();
      } catch (error) {
        if (isAbsent(error)) return [];
        throw error;
      }
    },
    async lock() {
      await makeFolder(root);
      const path = inside("lock");
      for (let attempt = 0; ; attempt++) {
        try {
          await node.fs.writeFile(path, `${process.pid}\n`, { flag: "wx" });
          break;
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
        }
        const owner = Number(await node.fs.readFile(path, "utf8").catch(() => ""));
        if (attempt > 2 || isAlive(owner))
          throw new InputError(
            `${folder}: process ${owner} has the ledger open; stop it, or remove ${path} if there is no such process`,
            { owner },
          );
        await node.fs.rm(path, { force: true }); // its process was killed
      }
      return async () => {
        await close();
        await node.fs.rm(path, { force: true });
      };
    },
  };
}

/** Whether a process is there. Our own id in the lock of another computer's process is the one case this gets wrong. */
function isAlive(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
