/** The public names of the server. */

export { type KeyHash, newKey, parseKeys } from "./http/access.ts";
export type { Limits } from "./http/context.ts";
export type { Job, JobEvent, JobPicture, JobRequest, JobState } from "./job.ts";
export { type RunningServer, type ServeOptions, startServer } from "./serve.node.ts";
export { exportStudio, studioFolder } from "./studio.node.ts";
