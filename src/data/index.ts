/** Public names of the data sets and the loader. What is not listed here is not promised. */

export { type Augment, type AugmentTarget, augment, normalise } from "./augment.ts";
export {
  type DrawProgress,
  drawEmoji,
  type EmojiOptions,
  type EmojiSplit,
  emoji,
} from "./emoji.ts";
export {
  EMOJI_CATEGORIES,
  type EmojiCategory,
  PICTURE_CATEGORIES,
  SIGN_CATEGORIES,
} from "./emoji-categories.ts";
export { EMOJI_SETS, type EmojiSet } from "./emoji-icons.ts";
export { FASHION_CLASSES, type FashionOptions, fashionMnist } from "./fashion-mnist.ts";
export { type FolderDataset, type FolderOptions, imageFolder } from "./folder.ts";
export {
  type Batch,
  type BatchOptions,
  batches,
  type Cursor,
  checkCursor,
  epochOrder,
  inOrder,
} from "./loader.ts";
export { partOfDataset } from "./part.ts";
export { centreCrop, type Picture, resizeLanczos, resizeToCover, roomySize } from "./resize.ts";
export {
  type Attribution,
  classCounts,
  type Finding,
  findClasses,
  type ImageDataset,
  pixelsOf,
  type Split,
} from "./types.ts";
