#!/bin/sh
# Serve the domain that provision.sh made: LDAP, LDAPS and Kerberos, in the foreground until SIGTERM; or until
# its input ends, where that is a pipe.
#
#   serve.sh FOLDER [ADDRESS]
#
# With ADDRESS it listens there alone; Samba knows no other ports than 88, 389, 464, 636, 3268 and 3269.
# FOLDER may have been moved or copied.  It gains tls/ca.pem, the authority that signed the certificate,
# and krb5.conf for clients.
set -eu
folder=$(cd "$1" && pwd)
address=${2:-}
export TDB_NO_FSYNC=1

mkdir -p "$folder/etc" "$folder/run/ncalrpc" "$folder/tls"
cat >"$folder/etc/smb.conf" <<EOF
[global]
realm = CONTOSO.TEST
workgroup = CONTOSO
netbios name = DC1
server role = active directory domain controller
server services = ldap, kdc
${address:+interfaces = $address/8
bind interfaces only = yes}
private dir = $folder/private
state directory = $folder/state
cache directory = $folder/cache
lock directory = $folder
pid directory = $folder/run
ncalrpc dir = $folder/run/ncalrpc
binddns dir = $folder/bind-dns
winbindd socket directory = $folder/run/winbindd
ntp signd socket directory = $folder/run/ntp
tls keyfile = $folder/tls/key.pem
tls certfile = $folder/tls/cert.pem
tls cafile = $folder/tls/ca.pem
# TLS protects a GSSAPI bind as well as its own sealing, which few clients can do inside TLS.
ldap server require strong auth = allow_sasl_over_tls
EOF

cat >"$folder/krb5.conf" <<EOF
[libdefaults]
default_realm = CONTOSO.TEST
dns_lookup_realm = false
dns_lookup_kdc = false
dns_canonicalize_hostname = false
rdns = false
udp_preference_limit = 1
[realms]
CONTOSO.TEST = {
    kdc = ${address:-dc1.contoso.test}
}
[domain_realm]
contoso.test = CONTOSO.TEST
.contoso.test = CONTOSO.TEST
EOF

if [ ! -e "$folder/tls/cert.pem" ]; then
    umask 077
    cd "$folder/tls"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 825 -subj "/CN=Contoso Root CA" \
        -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
        -keyout ca-key.pem -out ca.pem 2>/dev/null
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 825 -subj "/CN=dc1.contoso.test" \
        -CA ca.pem -CAkey ca-key.pem -addext "basicConstraints=critical,CA:FALSE" \
        -addext "subjectAltName=DNS:dc1.contoso.test${address:+,IP:$address}" -addext "extendedKeyUsage=serverAuth" \
        -keyout key.pem -out cert.pem 2>/dev/null
    rm ca-key.pem
    chmod 644 ca.pem
    cd /
fi

exec /usr/sbin/samba --interactive --no-process-group --model=single --configfile="$folder/etc/smb.conf"
