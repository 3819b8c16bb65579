/** Jobs on disk: one folder each, whole after every crash. Decides nothing about them. */

import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomic } from "../formats/node.ts";
import { decodePng, encodePng } from "../formats/png.ts";
import type { Mask } from "../image/edit/mask.ts";
import type { Picture } from "../image/sheet.ts";
import { isJobId, isOver, type Job } from "./job.ts";
import type { JobInput } from "./wish.ts";

/** The folder of all jobs; it is the queue's memory and the gallery. */
export interface JobStore {
  /** Writes a new job whole, its pictures first: what is listed is complete. */
  add(job: Job, input?: JobInput): Promise<void>;
  save(job: Job): Promise<void>;
  /** To be followed by `save`, which makes it last. */
  savePicture(id: string, place: number, png: Uint8Array): Promise<void>;
  /** undefined where there is none. */
  read(id: string): Promise<Job | undefined>;
  readInput(id: string): Promise<JobInput>;
  readPicture(id: string, place: number): Promise<Uint8Array | undefined>;
  /** Newest first; `before` goes on after a name. */
  list(options?: { most?: number; before?: string }): Promise<Job[]>;
  /** Jobs that are not over, oldest first. */
  unfinished(): Promise<Job[]>;
  /** Removes all but the newest `keep` jobs that are over. Returns how many went. */
  prune(keep: number): Promise<number>;
  remove(id: string): Promise<void>;
}

const JOB = "job.json";
const utf8 = new TextEncoder();

export async function openStore(folder: string): Promise<JobStore> {
  const root = join(folder, "jobs");
  await mkdir(root, { recursive: true });
  const fileOf = (id: string, name: string) => {
    if (!isJobId(id)) throw new RangeError(`"${id}" is no job's name`);
    return join(root, id, name);
  };
  const names = async () => (await readdir(root)).filter(isJobId).sort();
  const save = (job: Job) => writeFileAtomic(fileOf(job.id, JOB), utf8.encode(JSON.stringify(job)));
  const read = async (id: string): Promise<Job | undefined> => {
    if (!isJobId(id)) return undefined;
    const text = await readFile(fileOf(id, JOB), "utf8").catch(missing);
    return text === undefined ? undefined : parsed(text);
  };
  return {
    async add(job, input) {
      await mkdir(join(root, job.id));
      if (input) {
        const { picture, mask, other } = input;
        await writeFileAtomic(fileOf(job.id, "input.png"), await encodePng(picture));
        if (mask) await writeFileAtomic(fileOf(job.id, "mask.png"), await maskToPng(mask));
        if (other) await writeFileAtomic(fileOf(job.id, "other.png"), await encodePng(other));
      }
      await save(job);
    },
    save,
    async savePicture(id, place, png) {
      await writeFileAtomic(fileOf(id, `${place}.png`), png, { folderSync: false });
    },
    read,
    async readInput(id) {
      const picture = (await decodePng(await readFile(fileOf(id, "input.png")))) as Picture;
      const [mask, other] = await Promise.all(
        ["mask.png", "other.png"].map((name) => readFile(fileOf(id, name)).catch(missing)),
      );
      return {
        picture,
        ...(mask && { mask: await maskFromPng(mask) }),
        ...(other && { other: (await decodePng(other)) as Picture }),
      };
    },
    async readPicture(id, place) {
      if (!isJobId(id) || !Number.isSafeInteger(place) || place < 0) return undefined;
      return readFile(fileOf(id, `${place}.png`)).catch(missing);
    },
    async list({ most = 50, before } = {}) {
      const found: Job[] = [];
      for (const id of (await names()).reverse()) {
        if (found.length === most) break;
        if (before !== undefined && id >= before) continue;
        const job = await read(id);
        if (job) found.push(job);
      }
      return found;
    },
    async unfinished() {
      const jobs = await Promise.all((await names()).map(read));
      return jobs.filter((job) => job !== undefined).filter((job) => !isOver(job));
    },
    async prune(keep) {
      const all = await names();
      let gone = 0;
      for (const id of all.slice(0, Math.max(0, all.length - keep))) {
        const job = await read(id);
        if (job && !isOver(job)) continue;
        await rm(join(root, id), { recursive: true, force: true });
        gone++;
      }
      return gone;
    },
    async remove(id) {
      if (isJobId(id)) await rm(join(root, id), { recursive: true, force: true });
    },
  };
}

/** Files are written whole; one that is not JSON was edited by hand, and counts as absent. */
function parsed(text: string): Job | undefined {
  try {
    return JSON.parse(text) as Job;
  } catch {
    return undefined;
  }
}

const missing = (error: NodeJS.ErrnoException): undefined => {
  if (error.code !== "ENOENT") throw error;
};

/** Soft masks keep 8 bits. */
const maskToPng = ({ width, height, data }: Mask): Promise<Uint8Array> =>
  encodePng({
    width,
    height,
    channels: 1,
    data: Uint8Array.from(data, (v) => Math.round(255 * v)),
  });

async function maskFromPng(bytes: Uint8Array): Promise<Mask> {
  const { width, height, channels, data } = await decodePng(bytes);
  return {
    width,
    height,
    data: Float32Array.from({ length: width * height }, (_, i) => data[i * channels]! / 255),
  };
}
