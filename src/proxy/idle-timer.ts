/** A timer that moves cost nothing: it is set anew only when it goes off and something has moved since. */

export interface IdleTimer {
  touch(): void;
  stop(): void;
}

/** Calls once when nothing has moved for at least `idleMs` (and at most twice that). */
export function createIdleTimer(idleMs: number, onIdle: () => void): IdleTimer {
  let hasMoved = false;
  const timer = setInterval(() => {
    if (hasMoved) {
      hasMoved = false;
      return;
    }
    clearInterval(timer);
    onIdle();
  }, idleMs);
  timer.unref();
  return {
    touch: () => void (hasMoved = true),
    stop: () => clearInterval(timer),
  };
}
