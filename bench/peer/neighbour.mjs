// Large events on a bus on a Unix socket, to see what small ones suffer beside them: one connection
// subscribes to a topic of its own and another publishes there, five events of 10 MB a second, as
// plain bytes, so that it is the same neighbour whoever serves the socket.
//
//     node neighbour.mjs SOCKET [EVENTS_PER_SECOND [BYTES]]
//
// Waits until somebody serves the socket. Ended by SIGTERM, or with the bus, it prints
// {"sent":N,"received":N}.
import { connect } from 'node:net';
import { report, sleep } from './measure.mjs';

const [path, rate = '5', bytes = '10000000'] = process.argv.slice(2);
const topic = 'neighbour';
const retry_ms = 20;
const data = 'x'.repeat(Number(bytes));
const publish = Buffer.from(
    `{"type":"publish","topic":"${topic}","event":{"type":"large","runId":"r","data":"${data}"}}\n`,
);

async function join() {
    for (;;) {
        const socket = connect(path);
        const joined = await new Promise(resolve => {
            socket.once('connect', () => resolve(true));
            socket.once('error', () => resolve(false));
        });
        if (joined) return socket;
        await sleep(retry_ms);
    }
}

let sent = 0;
let received = 0;
function end() {
    report({ sent, received });
    process.exit(0);
}
process.on('SIGTERM', end);

const subscriber = await join();
subscriber.on('data', chunk => {
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) received++;
});
subscriber.write(`{"type":"subscribe","topic":"${topic}"}\n`);
await new Promise(resolve => subscriber.once('data', resolve));
received = 0; // the answer to the subscription
const publisher = await join();
for (const socket of [subscriber, publisher]) socket.on('close', end);
for (;;) {
    if (!publisher.write(publish)) await new Promise(resolve => publisher.once('drain', resolve));
    sent++;
    await sleep(1000 / Number(rate));
}
