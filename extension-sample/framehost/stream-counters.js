/** What became of a stream's pictures, and how fast. */

/** Window over which `stats.fps` is measured. */
const FPS_WINDOW_MS = 2_000;

/** Share of the newest value in `stats.latencyMs`, a moving average. */
const LATENCY_WEIGHT = 0.1;

export class StreamCounters {
  sent = 0;
  dropped = 0;
  rejected = 0;
  lost = 0;
  #acked = 0;
  #ackedAt = [];
  #firstAckAt = null;
  #latencyMs = null;

  /** One arrived. `sentAt`: when it was sent, if that is known. */
  acked(now, sentAt) {
    this.#acked += 1;
    this.#firstAckAt ??= now;
    this.#ackedAt.push(now);
    // With every acknowledgement: nobody may ever look at the stats.
    this.#forget(now);
    if (sentAt === undefined) return;
    const latency = now - sentAt;
    this.#latencyMs = this.#latencyMs === null ? latency : this.#latencyMs + (latency - this.#latencyMs) * LATENCY_WEIGHT;
  }

  read(now) {
    this.#forget(now);
    // A stream younger than the window is measured over its own age; the first tenth of a second says nothing.
    const measuredMs = this.#firstAckAt === null ? 0 : Math.min(FPS_WINDOW_MS, now - this.#firstAckAt);
    return {
      sent: this.sent,
      acked: this.#acked,
      dropped: this.dropped,
      rejected: this.rejected,
      lost: this.lost,
      latencyMs: this.#latencyMs,
      fps: measuredMs < 100 ? 0 : (this.#ackedAt.length * 1000) / measuredMs,
    };
  }

  /** Drops what is older than the window. */
  #forget(now) {
    while (this.#ackedAt.length > 0 && this.#ackedAt[0] < now - FPS_WINDOW_MS) this.#ackedAt.shift();
  }
}
