/** What waits to be sent somewhere, in bounded memory. Sends nothing itself. */

/**
 * At most `most` things; the oldest are dropped and counted.
 * @param options.isLost whether what threw this error need not be sent again
 */
export function waitingList<T>(most: number, { isLost }: { isLost: (error: unknown) => boolean }) {
  let waiting: T[] = [];
  let [underWay, dropped] = [0, 0];
  const trim = (): void => {
    const excess = waiting.length - most;
    if (excess > 0) dropped += waiting.splice(0, excess).length;
  };
  return {
    add(item: T): void {
      waiting.push(item);
      trim();
    },
    /** Those under way too. */
    waiting: () => waiting.length + underWay,
    dropped: () => dropped,
    drop(): void {
      dropped += waiting.splice(0).length;
    },
    /** Sends all, `size` together. A batch that fails is the first again; one that is lost is counted. */
    async drain(size: number, deliver: (batch: T[]) => Promise<unknown>): Promise<void> {
      while (waiting.length > 0) {
        const batch = waiting.splice(0, size);
        underWay = batch.length;
        try {
          await deliver(batch);
        } catch (error) {
          if (isLost(error)) dropped += batch.length;
          else waiting = [...batch, ...waiting];
          throw error;
        } finally {
          underWay = 0;
          trim();
        }
      }
    },
  };
}
