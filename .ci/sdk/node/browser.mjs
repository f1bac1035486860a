// Talks over a websocket as from a browser, which cannot set headers: the key is
// a sub-protocol. The package takes the global WebSocket, so it is given one.
import { OpenAIRealtimeWebSocket } from 'openai/realtime/websocket';
import { WebSocket } from 'ws';
import { report } from './client.mjs';
import { talk } from './talk.mjs';

globalThis.WebSocket = WebSocket;

await report((client) =>
  talk(() => new OpenAIRealtimeWebSocket({ model: 'demo-model', dangerouslyAllowBrowser: true }, client)),
);
