# Where things are on the machine that the shop runs on. Read by the commands beside it.
#
#   $machine/etc/shop.conf           the configuration
#   $machine/software/VERSION/front  the software, as installed
#   $machine/current                 the version that is started
#   $machine/run/front.pid           held by the front end that runs
#   $machine/backup                  copies of the data
set -eu
example=$(cd "$(dirname "$0")/.." && pwd)
machine=${SHOP_MACHINE:-$example/.golive/machine}
version=${GOLIVE_APP_VERSION:?is set by golive}
SHOP_MACHINE=$machine
export SHOP_MACHINE
mkdir -p "$machine/etc" "$machine/run" "$machine/log" "$machine/software"

# current is the version that is installed for use; empty if none is.
current() { cat "$machine/current" 2>/dev/null || true; }

misused() {
	echo "usage: $0 $1" >&2
	exit 2
}
