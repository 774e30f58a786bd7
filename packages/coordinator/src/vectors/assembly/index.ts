export { adamw } from "./adamw";
export { delta } from "./delta";
export { halves } from "./halves";
export { sum } from "./sum";
