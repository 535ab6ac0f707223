#!/bin/sh
# Make a Samba Active Directory domain in a folder, with the schema and the objects that Exchange's set-up adds.
#
#   provision.sh FOLDER
#
# The domain is contoso.test, its controller dc1.contoso.test; serve.sh serves it.  It is there for tests: its
# passwords stand in the folder passwords.  Root alone can do this, and nothing outside FOLDER is touched.
# Debian: samba-ad-dc samba-ad-provision python3-samba openssl
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=$1

# Once is enough.
[ ! -e "$folder/provisioned" ] || exit 0
# What was begun and did not get that far is begun again.
rm -rf "$folder/private" "$folder/state" "$folder/etc" "$folder/keytabs"
mkdir -p "$folder/etc" "$folder/keytabs"
# A lost machine costs nothing but doing it again.
export TDB_NO_FSYNC=1
# Debian's Python, and nothing that another one has: samba is in no virtual environment.
unset PYTHONPATH PYTHONHOME
export PYTHONNOUSERSITE=1

# DNS is left to those who have it.  Without posix:eadb the file system would have to take Windows ACLs.
/usr/bin/python3 /usr/bin/samba-tool domain provision \
    --realm=CONTOSO.TEST --domain=CONTOSO --server-role=dc --host-name=dc1 --host-ip=127.0.0.1 \
    --adminpass="$(cat "$here/passwords/Administrator")" --dns-backend=NONE \
    --targetdir="$folder" --configfile=/dev/null --option="posix:eadb=$folder/eadb.tdb"
/usr/bin/python3 "$here/seed.py" "$folder/etc/smb.conf" "$folder/private/sam.ldb" "$folder/keytabs"
touch "$folder/provisioned"
