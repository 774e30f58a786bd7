/** Payload bytes sent over HTTP: weights, shards, checkpoints. */
export interface Traffic {
  bytesOut: number;
}
