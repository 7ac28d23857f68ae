#!/bin/sh
# Unpacks Debian's package prometheus, for its promtool, into .lab/promtool. Nothing is
# installed.
set -eu
cd "$(dirname "$0")/../.."
[ ! -x .lab/promtool/usr/bin/promtool ] || exit 0
mkdir -p .lab/promtool.new
cd .lab/promtool.new
apt-cache show prometheus >/dev/null 2>&1 || apt-get -qq update
apt-get -qq -o APT::Sandbox::User=root download prometheus
dpkg-deb -x prometheus_*.deb .
mv ../promtool.new ../promtool
