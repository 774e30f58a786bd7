/** The error for data that cannot be trained on; the command line maps it to exit code 3. */

/** Names the path, what was expected there, what was found, and what to do. */
export class DataError extends Error {
  override readonly name = "DataError";
  readonly path: string;

  constructor(path: string, problem: string, whatToDo: string, options?: ErrorOptions) {
    super(`${path}: ${problem}\n${whatToDo}`, options);
    this.path = path;
  }
}

/** The layouts that `openDataset` accepts, for messages and help. */
export const ACCEPTED_LAYOUTS = [
  "Accepted data:",
  "  fashion-mnist                                  the built-in dataset",
  "  DIR/train/CLASS/*.jpg and DIR/val/CLASS/*.jpg  an image folder (val, validation or test)",
  "  DIR/CLASS/*.jpg                                one image folder; a part becomes validation data",
  "  DIR/train-images-idx3-ubyte.gz, ...            IDX files named as MNIST's, gzipped or not",
  "Images: jpg, jpeg, png, webp, gif, tif, tiff, avif.",
].join("\n");
