// One process of a benchmark on the reference's UnixSocketPubSub; unix_socket_run.mjs starts it.
//
//     node unix_socket.mjs role=publisher|subscriber|broker path=SOCKET shape=one|fanout|group
//
// The driver and its processes talk in lines of JSON, so a program in any language can play a part:
//
//     process  {"ready":{"pid":N,"broker":bool}}  it is on the bus; a subscriber has subscribed to
//              the topic `bench`, with shape=group in the group `workers`
//     driver   {"go":{"events":N,"mode":"await"|"burst"|"latency"}}  a phase begins
//     process  {"armed":true}  its counters are 0; the publisher publishes instead, seq 0 to N-1,
//              and then writes {"published":{"began":ns,"ended":ns}}
//     driver   {"count":true}
//     process  {"counted":N}
//     driver   {"stop":true}  the phase is over
//     process  {"result":{"received":N,"sum":N,"wrong":N,"last":ns,"broker":bool,
//              "latencies":[us]}}  sum: of all data.seq; wrong: events whose text is not 100
//              units long; last: when the last one came
//     driver   {"exit":true}
//
// Times are nanoseconds of the monotonic clock, which all processes of a machine share. In the mode
// `latency` the text of an event begins with its time, in 20 digits.
import { createInterface } from 'node:readline';
import { event, now, options, report, require } from './measure.mjs';
import { sleep, stamp_of, stamped_event } from './measure.mjs';

const { UnixSocketPubSub } = require('@mastra/core/events');

const { role, path, shape } = options({ role: '', path: '', shape: 'one' });
const topic = 'bench';
const text_units = 100;
const burst_events = 1000;
const group = shape === 'group' ? { group: 'workers' } : undefined;
const bus = new UnixSocketPubSub(path);

let mode = 'await';
let received = 0;
let sum = 0;
let wrong = 0;
let last = 0;
let latencies = [];

async function receive(arrived, ack) {
    if (mode === 'latency') latencies.push((now() - stamp_of(arrived)) / 1e3);
    const { seq, text } = arrived.data;
    sum += seq;
    if (text.length !== text_units) wrong++;
    if (group) await ack();
    received++;
    last = now();
}

async function publish(events) {
    if (mode === 'latency') {
        for (let i = 0; i < events; i++) {
            await bus.publish(topic, stamped_event(i));
            await sleep(1);
        }
    } else if (mode === 'await') {
        for (let i = 0; i < events; i++) await bus.publish(topic, event(i));
    } else {
        for (let i = 0; i < events; i += burst_events) {
            const pending = [];
            for (let k = i; k < Math.min(events, i + burst_events); k++)
                pending.push(bus.publish(topic, event(k)));
            await Promise.all(pending);
            await bus.flush();
        }
    }
}

async function go(phase) {
    mode = phase.mode;
    received = sum = wrong = last = 0;
    latencies = [];
    if (role !== 'publisher') return { armed: true };
    const began = now();
    await publish(phase.events);
    return { published: { began, ended: now() } };
}

async function answer(order) {
    if (order.go) return go(order.go);
    if (order.count) return { counted: received };
    if (order.stop)
        return { result: { received, sum, wrong, last, broker: bus.isBroker, latencies } };
    await bus.close();
    process.exit(0);
}

if (role === 'subscriber') await bus.subscribe(topic, receive, group);
// Joins the bus, and takes part in nothing.
else await bus.subscribe('elsewhere', () => {});
report({ ready: { pid: process.pid, broker: bus.isBroker } });
createInterface({ input: process.stdin })
    .on('line', async line => report(await answer(JSON.parse(line))))
    .on('close', () => process.exit(0));
