/** A job as plain data: what was asked for, how far it is, what came of it. Runs nothing and stores nothing. */

import type { Drawing } from "../image/drawing.ts";
import type { Blend } from "../image/edit/blend.ts";
import type { Course } from "../image/edit/interpolate.ts";
import type { Branch } from "../image/orders.ts";
import type { EditKind } from "./edits.ts";

export const JOB_STATES = ["queued", "running", "done", "failed", "cancelled"] as const;
export type JobState = (typeof JOB_STATES)[number];

/** Everything the pictures of a job depend on; the pictures and mask of an edit lie beside it. */
export interface JobRequest {
  readonly model: string;
  /** Class number of each picture. */
  readonly labels: readonly number[];
  readonly seed: number;
  /** Number of the first picture within its seed. */
  readonly first: number;
  readonly drawing: Drawing;
  readonly branches: readonly Branch[];
  /** Every scale is told while it is drawn. */
  readonly scales: boolean;
  readonly edit?: JobEdit;
}

/** Settings of edits; which there are depends on the kind: edits.ts. */
export interface EditSettings {
  readonly blend?: Blend;
  /** Absent: as wide as suits what is drawn. */
  readonly feather?: number;
  /** Pixels that are added. */
  readonly left?: number;
  readonly top?: number;
  readonly right?: number;
  readonly bottom?: number;
  readonly course?: Course;
}
export interface JobEdit extends EditSettings {
  readonly kind: EditKind;
  readonly keepScales: number;
}

/** A finished picture of a job. */
export interface JobPicture {
  /** Place in the job, from 0; its file is `<place>.png`. */
  readonly place: number;
  /** Number within the seed. */
  readonly index: number;
  readonly label: string;
  readonly width: number;
  readonly height: number;
}

export interface Job {
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly created: number;
  readonly state: JobState;
  readonly request: JobRequest;
  readonly pictures: readonly JobPicture[];
  /** A sentence, where it failed. */
  readonly error?: string;
  readonly ended?: number;
}

/** What happens to a job, in order. */
export type JobEvent =
  | { readonly kind: "state"; readonly state: JobState; readonly error?: string }
  | {
      readonly kind: "scale";
      readonly place: number;
      readonly scale: number;
      readonly of: number;
      /** Of the token map. */
      readonly shape: readonly [height: number, width: number];
      readonly png: Uint8Array;
      readonly ids: readonly number[];
      readonly doubt: readonly number[];
    }
  | { readonly kind: "picture"; readonly picture: JobPicture; readonly png: Uint8Array };

export const isOver = ({ state }: Pick<Job, "state">): boolean =>
  state === "done" || state === "failed" || state === "cancelled";

/** Names sort by time; no two are alike. @param random 8 or more unpredictable bytes */
export const jobId = (now: number, random: Uint8Array): string =>
  `${now.toString(36).padStart(9, "0")}-${Array.from(random, (b) => b.toString(16).padStart(2, "0")).join("")}`;

/** Whether a text from outside may be a job's name; nothing else ever becomes a part of a path. */
export const isJobId = (text: string): boolean => /^[0-9a-z]{9}-[0-9a-f]{16}$/.test(text);
