// The talk over a websocket: a greeting comes, then each event that goes out
// comes back, then this side closes.
import { text } from 'node:stream/consumers';

// talk opens the websocket last: whoever waits for anything between opening it
// and listening may miss the greeting.
export async function talk(open) {
  const events = JSON.parse(await text(process.stdin));
  const result = { events: [], protocol: '', text: 0, code: 0 };
  return new Promise((resolve, reject) => {
    const realtime = open();
    realtime.on('error', reject);
    realtime.on('event', (event) => {
      result.events.push(event.event_id);
      result.text = event.text?.length ?? 0;
      result.protocol = realtime.socket.protocol;
      const next = events.shift();
      next ? realtime.send(next) : realtime.close();
    });
    realtime.socket.addEventListener('close', ({ code }) => resolve({ ...result, code }));
  });
}
