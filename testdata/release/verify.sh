#!/bin/sh
# Checks a release that was downloaded:
#
#	verify.sh SIGNERS [FOLDER]
#
# SIGNERS is the project's file of keys that sign releases, got elsewhere than the release
# (ssh-keygen(1), ALLOWED SIGNERS). Of the files only those that are there are compared.
set -eu
signers=${1:?usage: verify.sh SIGNERS [FOLDER]}
case $signers in
/*) ;;
*) signers=$PWD/$signers ;;
esac
cd "${2:-.}"
who=$(ssh-keygen -Y find-principals -s SHA256SUMS.sig -f "$signers")
ssh-keygen -Y verify -f "$signers" -I "$who" -n wgkeys-release -s SHA256SUMS.sig <SHA256SUMS
sha256sum --check --ignore-missing --strict --quiet SHA256SUMS
echo "every file is as $who signed it"
