// nodemailer's smtp-server with handlers that keep nothing: a script, started with the path of the module
// and a JSON object that says what it needs:
//     {"host": "127.0.0.1", "endpoints": [{"port": 2525, "certificate": "rsa.crt", "key": "rsa.key"}]}
'use strict';

const { readFileSync } = require('node:fs');
const { SMTPServer } = require(process.argv[2]);

const given = JSON.parse(process.argv[3]);

for (const each of given.endpoints) {
    const server = new SMTPServer({
        name: 'peer.contoso.test',
        authOptional: true,
        disabledCommands: ['AUTH'],
        disableReverseLookup: true,
        key: readFileSync(each.key),
        cert: readFileSync(each.certificate),
        onData(stream, session, callback) {
            stream.on('end', () => callback(null, 'OK'));
            stream.resume();
        },
    });
    // A peer that resets is no reason to end.
    server.on('error', () => {});
    server.listen(each.port, given.host);
}
