// A process that holds one real UnixSocketPubSub of the reference, driven over standard input.
//
//     node mastra_peer.mjs PATH [--replay] [--maxInboundFrameBytes=N]
//         [--maxRemoteClientQueuedBytes=N] [--membershipAckTimeoutMs=N]
//
// --replay puts a CachingPubSub with a cache in memory in front. The first line of output is
// {"ready":{pid,node,core}}. Each line of input is a command {"n":1,"do":"publish",...}; it starts
// when it is read and is answered when it ends, by {"done":1,...} or {"failed":1,"error":...}, so a
// later command may be answered first. Received events come in between as {"event":{...}}. The
// process ends with its input, without closing the bus.
//
//     subscribe     topic, group?, mode?, times?, quiet?, from?; the subscription is named by n
//                   mode: none (default: neither), ack, nack or throw: what the first `times`
//                   (default: all) deliveries of an event get; after that they are acknowledged
//                   quiet: events are counted, not reported; from: index to replay from
//     unsubscribe   subscription
//     received      subscription, count?: answers when `count` events have come, with the number of
//                   events, of different ids, and of data.seq that were lower than the one before
//     publish       topic, event, localOnly?
//     publish_many  topic, count, first?, rate?, tolerant?: events with data {seq,text}, each
//                   awaited, `rate` a second; tolerant: go on where one fails, and count
//     flush, close, exit
//     role          broker and clients, as the bus tells them
//     await_role    broker?, clients?: answers when the role is that
//     history       topic, from?: the retained events (--replay)
//     clear         topic: forgets them
//
// Values that JSON has no word for are written as objects with one key, in both directions:
//
//     {"$undefined":true}  {"$date":"2026-01-01T00:00:00.000Z"}, null if invalid  {"$bigint":"12"}
//     {"$number":"NaN"}, also Infinity, -Infinity and -0    {"$regexp":{"source":"a","flags":"i"}}
//     {"$url":"http://h/"}  {"$map":[[key,value]]}  {"$set":[value]}  {"$bytes":"00ff"}, a Buffer
//     {"$error":{"name":..,"message":..,"stack":..,"cause":..,"fields":{..}}}; only message must be
//     there  {"$units":"d83d"}: text that is not well-formed, as UTF-16 units
//     {"$instance":{"class":"Name","fields":{..}}}: only reported  {"$function":true}
//     {"$plain":{..}}: an object with one key that itself begins with $
import { createInterface } from 'node:readline';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { CachingPubSub, UnixSocketPubSub } from '@mastra/core/events';
import { InMemoryServerCache } from '@mastra/core/cache';

const poll_ms = 2;

// ---- Notation

const is_object = value => typeof value === 'object' && value !== null;
const only_key = value => (Object.keys(value).length === 1 ? Object.keys(value)[0] : '');

function map_values(object, f) {
    const result = {};
    for (const [key, value] of Object.entries(object)) {
        // Assigning __proto__ would set the prototype.
        Object.defineProperty(result, key, {
            value: f(value),
            enumerable: true,
            configurable: true,
            writable: true,
        });
    }
    return result;
}

function read_error({ name, message, stack, cause, fields = {} }) {
    const error = new Error(message, cause === undefined ? undefined : { cause: read(cause) });
    const hidden = value => ({ value, configurable: true, writable: true });
    if (name !== undefined) Object.defineProperty(error, 'name', hidden(name));
    if (stack !== undefined) Object.defineProperty(error, 'stack', hidden(stack));
    return Object.assign(error, map_values(fields, read));
}

const units = hex => String.fromCharCode(...hex.match(/.{4}/g).map(unit => parseInt(unit, 16)));

const readers = {
    $undefined: () => undefined,
    $date: text => new Date(text ?? NaN),
    $bigint: BigInt,
    $number: Number,
    $regexp: ({ source, flags }) => new RegExp(source, flags),
    $url: text => new URL(text),
    $map: entries => new Map(entries.map(([key, value]) => [read(key), read(value)])),
    $set: items => new Set(items.map(read)),
    $bytes: hex => Buffer.from(hex, 'hex'),
    $error: read_error,
    $units: units,
    $function: () => () => {},
    $plain: object => map_values(object, read),
};

// The value that a notation stands for.
function read(written) {
    if (Array.isArray(written)) return written.map(read);
    if (!is_object(written)) return written;
    const key = only_key(written);
    return Object.hasOwn(readers, key) ? readers[key](written[key]) : map_values(written, read);
}

function write_error(error) {
    const { name, message, stack } = error;
    const written = { name, message };
    if (stack !== undefined) written.stack = stack;
    if (Object.hasOwn(error, 'cause')) written.cause = write(error.cause);
    const fields = Object.entries(error).filter(
        ([key]) => !['name', 'message', 'stack', 'cause'].includes(key),
    );
    if (fields.length > 0) written.fields = map_values(Object.fromEntries(fields), write);
    return { $error: written };
}

function write_string(text) {
    if (text.isWellFormed()) return text;
    const hex = Array.from({ length: text.length }, (_, at) => text.charCodeAt(at).toString(16));
    return { $units: hex.map(unit => unit.padStart(4, '0')).join('') };
}

function write_number(number) {
    if (Number.isFinite(number) && !Object.is(number, -0)) return number;
    return { $number: Object.is(number, -0) ? '-0' : String(number) };
}

// The notation of any value.
function write(value) {
    switch (typeof value) {
        case 'undefined':
            return { $undefined: true };
        case 'bigint':
            return { $bigint: String(value) };
        case 'number':
            return write_number(value);
        case 'string':
            return write_string(value);
        case 'function':
            return { $function: true };
    }
    if (!is_object(value)) return value;
    if (Array.isArray(value)) return value.map(write);
    if (value instanceof Date)
        return { $date: Number.isNaN(value.getTime()) ? null : value.toISOString() };
    if (value instanceof RegExp) return { $regexp: { source: value.source, flags: value.flags } };
    if (value instanceof URL) return { $url: value.href };
    if (value instanceof Map)
        return { $map: [...value].map(([key, item]) => [write(key), write(item)]) };
    if (value instanceof Set) return { $set: [...value].map(write) };
    if (Buffer.isBuffer(value)) return { $bytes: value.toString('hex') };
    if (value instanceof Error) return write_error(value);
    const fields = map_values(value, write);
    const prototype = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== null)
        return { $instance: { class: value.constructor?.name ?? '', fields } };
    return only_key(fields).startsWith('$') ? { $plain: fields } : fields;
}

function write_event(received) {
    const { type, runId, id, createdAt, deliveryAttempt, index, data, ...extra } = received;
    return {
        type: write(type),
        runId: write(runId),
        id: write(id),
        createdAt: write(createdAt),
        deliveryAttempt: write(deliveryAttempt),
        index: write(index),
        data: write(data),
        extra: map_values(extra, write),
    };
}

// ---- The bus

function parse_arguments([path, ...rest]) {
    const options = {};
    let replay = false;
    for (const argument of rest) {
        const limit = /^--(\w+)=(\d+)$/.exec(argument);
        if (argument === '--replay') replay = true;
        else if (limit) options[limit[1]] = Number(limit[2]);
        else throw new Error(`unknown argument ${argument}`);
    }
    if (!path) throw new Error('usage: mastra_peer.mjs PATH [--replay] [--LIMIT=N]');
    return { path, replay, options };
}

const { path, replay, options } = parse_arguments(process.argv.slice(2));
const socket = new UnixSocketPubSub(path, options);
const bus = replay ? new CachingPubSub(socket, new InMemoryServerCache()) : socket;
const subscriptions = new Map();

const print = line => process.stdout.write(`${JSON.stringify(line)}\n`);

class subscription {
    count = 0;
    inversions = 0;
    last_seq = -Infinity;
    deliveries = new Map(); // by event id
    waiting = [];

    constructor({ n, topic, group, mode = 'none', times = Infinity, quiet = false }) {
        Object.assign(this, { n, topic, group, mode, times, quiet });
    }

    receive = async (received, ack, nack) => {
        const earlier = this.deliveries.get(received.id) ?? 0;
        this.deliveries.set(received.id, earlier + 1);
        this.count++;
        const seq = received.data?.seq;
        if (typeof seq === 'number') {
            if (seq < this.last_seq) this.inversions++;
            this.last_seq = seq;
        }
        if (!this.quiet) {
            const { n, topic, group } = this;
            print({ event: { subscription: n, topic, group, ...write_event(received) } });
        }
        this.waiting = this.waiting.filter(waits => !waits());
        const mode = this.mode !== 'none' && earlier >= this.times ? 'ack' : this.mode;
        if (mode === 'ack') await ack?.();
        if (mode === 'nack') await nack?.();
        if (mode === 'throw') throw new Error('the subscriber was told to throw');
    };

    // Resolves when `count` events have come.
    received(count) {
        const answer = () => ({
            count: this.count,
            different: this.deliveries.size,
            inversions: this.inversions,
        });
        if (this.count >= count) return answer();
        return new Promise(resolve => {
            this.waiting.push(() => {
                const complete = this.count >= count;
                if (complete) resolve(answer());
                return complete;
            });
        });
    }
}

function known(number) {
    const found = subscriptions.get(number);
    if (!found) throw new Error(`no subscription ${number}`);
    return found;
}

const role = () => ({ broker: socket.isBroker, clients: socket.remoteClientCount });

async function publish_many({ topic, count, first = 0, rate, tolerant = false }) {
    const text = 'x'.repeat(100);
    const started = performance.now();
    let accepted = 0;
    let refused = 0;
    let error;
    for (let i = 0; i < count; i++) {
        if (rate) {
            const early = started + (i * 1000) / rate - performance.now();
            if (early > 1) await sleep(early);
        }
        const event = { type: 'many', runId: 'run-many', data: { seq: first + i, text } };
        try {
            await bus.publish(topic, event);
            accepted++;
        } catch (failure) {
            if (!tolerant) throw failure;
            refused++;
            error ??= String(failure);
        }
    }
    return { accepted, refused, error, seconds: (performance.now() - started) / 1000 };
}

const commands = {
    async subscribe(command) {
        const { n, topic, group, from } = command;
        const created = new subscription(command);
        subscriptions.set(n, created);
        try {
            if (from !== undefined) await bus.subscribeFromOffset(topic, from, created.receive);
            else if (group !== undefined) await bus.subscribe(topic, created.receive, { group });
            else await bus.subscribe(topic, created.receive);
        } catch (failure) {
            subscriptions.delete(n);
            throw failure;
        }
    },
    async unsubscribe({ subscription }) {
        const { topic, receive } = known(subscription);
        await bus.unsubscribe(topic, receive);
    },
    received: ({ subscription, count = 0 }) => known(subscription).received(count),
    async publish({ topic, event, localOnly }) {
        if (localOnly === undefined) await bus.publish(topic, read(event));
        else await bus.publish(topic, read(event), { localOnly });
    },
    publish_many,
    flush: () => bus.flush(),
    close: () => socket.close(),
    role,
    async await_role({ broker, clients }) {
        const is = () =>
            (broker ?? socket.isBroker) === socket.isBroker &&
            (clients ?? socket.remoteClientCount) === socket.remoteClientCount;
        while (!is()) await sleep(poll_ms);
        return role();
    },
    async history({ topic, from = 0 }) {
        return { events: (await bus.getHistory(topic, from)).map(write_event) };
    },
    clear: ({ topic }) => bus.clearTopic(topic),
    exit() {
        setImmediate(() => process.exit(0)); // after the answer
    },
};

async function execute(line) {
    const command = JSON.parse(line);
    const { n } = command;
    try {
        if (!Object.hasOwn(commands, command.do)) throw new Error(`unknown command ${command.do}`);
        print({ done: n, ...(await commands[command.do](command)) });
    } catch (failure) {
        print({ failed: n, error: String(failure?.message ?? failure), code: failure?.code });
    }
}

const manifest = new URL('node_modules/@mastra/core/package.json', import.meta.url);
const { version } = JSON.parse(readFileSync(manifest, 'utf8'));
print({ ready: { pid: process.pid, node: process.version, core: version } });
createInterface({ input: process.stdin, terminal: false })
    .on('line', execute)
    .on('close', () => process.exit(0));
