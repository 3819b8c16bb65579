/** The gallery of a page without a server: jobs and their pictures in IndexedDB. Where there is none, in memory. */

import type { Job } from "./engine.ts";

export interface Kept {
  /** Writes the job, and one of its pictures with it: both or neither. */
  save(job: Job, picture?: { readonly url: string; readonly png: Blob }): Promise<void>;
  /** Newest first. */
  list(options: { limit: number; before?: string }): Promise<Job[]>;
  png(url: string): Promise<Blob>;
  remove(id: string): Promise<void>;
}

const NAME = "underpaint";
const [JOBS, PNGS] = ["jobs", "pngs"];

export async function openKept(): Promise<Kept> {
  try {
    return inDatabase(await opened());
  } catch {
    return inMemory(); // a private window, or no room: the gallery lasts as long as the tab
  }
}

const settled = <T>(request: IDBRequest<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

function opened(): Promise<IDBDatabase> {
  const request = indexedDB.open(NAME, 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore(JOBS, { keyPath: "id" });
    request.result.createObjectStore(PNGS);
  };
  return settled(request);
}

/** Everything of a job's pictures: their names begin with its id, and "0" follows "/". */
const ofJob = (id: string): IDBKeyRange => IDBKeyRange.bound(`${id}/`, `${id}0`);

function inDatabase(database: IDBDatabase): Kept {
  const writing = (work: (jobs: IDBObjectStore, pngs: IDBObjectStore) => void) =>
    new Promise<void>((resolve, reject) => {
      const all = database.transaction([JOBS, PNGS], "readwrite");
      all.oncomplete = () => resolve();
      all.onabort = () => reject(all.error);
      work(all.objectStore(JOBS), all.objectStore(PNGS));
    });
  const reading = (store: string) => database.transaction(store).objectStore(store);
  return {
    save: (job, picture) =>
      writing((jobs, pngs) => {
        jobs.put(job);
        if (picture) pngs.put(picture.png, picture.url);
      }),
    async list({ limit, before }) {
      const range = before === undefined ? null : IDBKeyRange.upperBound(before, true);
      const cursor = reading(JOBS).openCursor(range, "prev");
      return new Promise((resolve, reject) => {
        const found: Job[] = [];
        cursor.onerror = () => reject(cursor.error);
        cursor.onsuccess = () => {
          const here = cursor.result;
          if (here) found.push(here.value as Job);
          if (here && found.length < limit) here.continue();
          else resolve(found);
        };
      });
    },
    async png(url) {
      const found: unknown = await settled(reading(PNGS).get(url));
      if (found instanceof Blob) return found;
      throw new Error(`the picture ${url} is not in this browser any more`);
    },
    remove: (id) =>
      writing((jobs, pngs) => {
        jobs.delete(id);
        pngs.delete(ofJob(id));
      }),
  };
}

function inMemory(): Kept {
  const jobs = new Map<string, Job>();
  const pngs = new Map<string, Blob>();
  return {
    async save(job, picture) {
      jobs.set(job.id, job);
      if (picture) pngs.set(picture.url, picture.png);
    },
    async list({ limit, before }) {
      const ids = [...jobs.keys()].sort().reverse();
      return ids
        .filter((id) => before === undefined || id < before)
        .slice(0, limit)
        .map((id) => jobs.get(id)!);
    },
    async png(url) {
      const found = pngs.get(url);
      if (found) return found;
      throw new Error(`the picture ${url} is not in this tab any more`);
    },
    async remove(id) {
      jobs.delete(id);
      for (const url of pngs.keys()) if (url.startsWith(`${id}/`)) pngs.delete(url);
    },
  };
}
