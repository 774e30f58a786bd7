export { adamw } from "./adamw";
export { delta } from "./delta";
export { halves } from "./halves";
export { ARRAY_BYTES, ARRAYS, FRAME_BYTES, FRAMES, SCALES_BYTES, VALUES } from "./layout";
export { sum } from "./sum";
