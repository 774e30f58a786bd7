/** What the build puts into the pages (`vite.config.ts`). */

/** Hash of the sources: the coordinator compares it with its own pages'. */
declare const __BUILD_ID__: string;
/** Folder of TF.js's WASM binaries on the coordinator, "/…/". */
declare const __TFJS_WASM_PATH__: string;
