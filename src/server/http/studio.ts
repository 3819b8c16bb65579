/** The studio's pages over HTTP: files of a list, with what browsers need to keep them and to trust them. */

import type { MiddlewareHandler } from "hono";
import type { StudioFiles } from "../studio.node.ts";

/** Answers GET and HEAD for the files of the list; everything else goes on. */
export const serveStudio =
  (files: StudioFiles): MiddlewareHandler =>
  async (c, next) => {
    const { method, path } = c.req;
    const file = files.get(path);
    if (!file || (method !== "GET" && method !== "HEAD")) return next();
    const headers = {
      "Content-Type": file.type,
      "Cache-Control": file.hashed ? "public, max-age=31536000, immutable" : "no-cache",
      ETag: file.etag,
    };
    if (c.req.header("If-None-Match") === file.etag) return c.body(null, 304, headers);
    const bytes = await file.read();
    return c.body(new Uint8Array(bytes), 200, headers);
  };
