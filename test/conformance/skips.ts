/** What a backend cannot do, by the name of the conformance case, each with its reason. The same in Node and in a page. */

export const SKIPPED_ON_ORT_WEB: Readonly<Record<string, string>> = {
  "a profile says where the time goes, by op and scope":
    "WebAssembly has no file to write a profile to; compile says so",
};
