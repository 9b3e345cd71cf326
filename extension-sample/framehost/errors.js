/** Every error that this module throws, rejects with or reports. `code` is a gRPC status name in lower snake case. */
export class FramehostError extends Error {
  constructor(code, message, details = {}) {
    super(message);
    this.name = 'FramehostError';
    this.code = code;
    this.details = details;
  }
}
