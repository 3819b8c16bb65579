/** A picture on its way from one page to another. */

let picture = $state.raw<Blob>();

export const handover = {
  give(blob: Blob): void {
    picture = blob;
  },
  /** The picture, once. */
  take(): Blob | undefined {
    const taken = picture;
    picture = undefined;
    return taken;
  },
};
