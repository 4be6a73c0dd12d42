// Prints what JSON.stringify makes of each line of standard input.
//
//     d 3ff0000000000000     a number, as the 16 hexadecimal digits of its bits
//     s 0061d83dde00         a string, as four hexadecimal digits for each UTF-16 unit
//
// One line of input is one line of output: JSON has no raw line feeds.
import { readFileSync, writeFileSync } from 'node:fs';

const bits = new DataView(new ArrayBuffer(8));

function number(hex) {
    bits.setBigUint64(0, BigInt(`0x${hex}`));
    return bits.getFloat64(0);
}

function string(hex) {
    let text = '';
    for (let at = 0; at < hex.length; at += 4)
        text += String.fromCharCode(parseInt(hex.slice(at, at + 4), 16));
    return text;
}

const lines = readFileSync(0, 'latin1').split('\n');
if (lines.at(-1) === '') lines.pop();
const answers = lines.map(line => {
    const value = line.slice(2);
    if (line.startsWith('d ')) return JSON.stringify(number(value));
    if (line.startsWith('s ')) return JSON.stringify(string(value));
    throw new Error(`not a line of input: ${line}`);
});
writeFileSync(1, answers.map(answer => `${answer}\n`).join(''));
