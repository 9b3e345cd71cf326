#!/bin/busybox sh
# What happens inside the guest: /init of its only file system. Runs framehost on vivid's cameras and writes down what
# it says; judging is for check.py, outside. Each run NAME leaves NAME.json (what --json told), NAME.err, NAME.rc.
/bin/busybox --install -s /bin
export PATH=/bin LC_ALL=C HOME=/tmp FRAMEHOST_CONFIG_DIR=/tmp/config FRAMEHOST_RUNTIME_DIR=/tmp/run
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
echo 'root:x:0:0::/:/bin/sh
nobody:x:65534:65534::/tmp:/bin/sh' >/etc/passwd
echo 'root:x:0:
nogroup:x:65534:' >/etc/group
chmod 1777 /tmp

# The first camera has a webcam's sizes and rates. The second is an HDMI input, which takes any size; beside it are an
# output and a node for metadata, which are none.
for module in $(cat /modules/order); do
    case $module in
    vivid.*) insmod "/modules/$module" n_devs=2 node_types=0x1,0x20101 num_inputs=1,1 input_types=0x0,0x3 ;;
    *) insmod "/modules/$module" ;;
    esac
done
cd /results || poweroff -f

step() { echo "$(cut -d' ' -f1 /proc/uptime) $*"; }
now_ms() { sed 's/\.\([0-9]*\) .*/\10/' /proc/uptime; }
control() { v4l2-ctl -d "${2:-/dev/video0}" -c "$1" || echo "v4l2-ctl -c $1 failed" >>control.err; }

# run NAME ARGUMENT...: lets it come to its end.
run() {
    local name=$1
    shift
    step "$name"
    timeout 60 framehost capture camera --json "$@" >"$name.json" 2>"$name.err"
    echo $? >"$name.rc"
}

# picture NAME BYTES ARGUMENT...: and keeps the last picture.
picture() {
    local name=$1 bytes=$2
    shift 2
    step "$name"
    {
        timeout 60 framehost capture camera --json --output - "$@" 2>"$name.both"
        echo $? >"$name.rc"
    } | tail -c "$bytes" >"$name.raw"
    grep '^{' "$name.both" >"$name.json"
    grep -v '^{' "$name.both" >"$name.err"
    rm "$name.both"
}

# begin NAME ARGUMENT...: leaves it running, as $pid; end: interrupts it and tells how long it took.
begin() {
    local name=$1
    shift
    step "$name"
    framehost capture camera --json "$@" >"$name.json" 2>"$name.err" &
    pid=$!
    running=$name
}
end() {
    local before
    before=$(now_ms)
    kill -INT $pid
    local tries=250
    while kill -0 $pid 2>/dev/null && [ $((tries -= 1)) -gt 0 ]; do usleep 20000; done
    echo $(($(now_ms) - before)) >"$running.closing_ms"
    kill -KILL $pid 2>/dev/null
    wait $pid
    echo $? >"$running.rc"
}
# wait_for PATTERN COUNT SECONDS: so many lines with it in the running one's output.
wait_for() {
    local tries=$(($3 * 50))
    while [ "$(lines_with "$1")" -lt "$2" ] && [ $((tries -= 1)) -gt 0 ]; do usleep 20000; done
}
lines_with() { grep -c "$1" "$running.json"; }
pictures() { lines_with frame_number; }
# Hundredths of a second that the running one has had of the processor.
ticks() { awk '{print $14 + $15}' "/proc/$pid/stat"; }
cameras_open() { ls -l "/proc/$pid/fd" | grep -c /dev/video; }

step list
framehost devices --json >devices.json 2>devices.err
ls /dev | grep '^video' >nodes

# Nothing but bars in the pictures.
control osd_text_mode=2
control osd_text_mode=2 /dev/video1

# By default vivid stamps a picture with the end of its time, which lies ahead of when it is there: no time to be used.
run ahead --width 320 --height 180 --fps 30 --frames 30
control timestamp_source=1
control timestamp_source=1 /dev/video1

picture yuyv $((640 * 480 * 3)) --width 640 --height 480 --fps 25 --frames 60
picture nv12 $((1280 * 720 * 3 / 2)) --width 1280 --height 720 --fps 12.5 --format nv12 --frames 40
picture i420 $((640 * 360 * 3 / 2)) --width 640 --height 360 --fps 40 --format i420 --frames 80
picture nokhwa $((640 * 480 * 3)) --width 640 --height 480 --fps 15 --frames 45 --backend nokhwa
picture bgra $((320 * 180 * 4)) --width 320 --height 180 --fps 30 --format bgra --frames 10
# Any size, at a rate that is not the one asked for.
picture stepwise $((324 * 182 * 3)) --camera "platform:vivid-001/vivid" --width 324 --height 182 --fps 30 --frames 60
# The driver says what its colours mean; here other than usual.
control y_cbcr_encoding=2
control quantization=1
picture bt709_full $((640 * 480 * 3)) --frames 5
control y_cbcr_encoding=0
control quantization=0
picture grey $((320 * 180)) --width 320 --height 180 --format gray --frames 5

run slow --width 1920 --height 1080 --fps 30 --format nv12 --frames 5
run by_path --camera /dev/video0 --width 320 --height 180 --frames 2
run no_index --camera 7
run no_name --camera no-such-camera
run no_camera_node --camera /dev/video2
run bad_size --width 641
run bad_size_nokhwa --width 641 --backend nokhwa
run no_jpeg --format jpeg
run bad_fps --fps 0
chmod 600 /dev/video0
step forbidden
su -s /bin/sh nobody -c "framehost capture camera --json --frames 1" >forbidden.json 2>forbidden.err
echo $? >forbidden.rc

begin streaming --width 640 --height 480 --fps 25
wait_for frame_number 3 20
run busy --width 320 --height 180 --frames 1
run busy_same --width 640 --height 480 --fps 25 --frames 1
run busy_nokhwa --width 320 --height 180 --frames 1 --backend nokhwa
wait_for frame_number 10 20
end
run free_again --width 320 --height 180 --frames 2
begin nokhwa_closing --width 640 --height 480 --fps 15 --backend nokhwa
wait_for frame_number 3 20
end

# Some buffers are marked as broken, some get lost.
begin flags --width 320 --height 180 --fps 30
wait_for frame_number 5 20
for _ in 1 2 3; do
    control inject_v4l2_buf_flag_error=1
    usleep 200000
done
wait_for '"broken":"3"' 5 20
end
control percentage_of_dropped_buffers=30
run gaps --width 320 --height 180 --fps 30 --frames 60
control percentage_of_dropped_buffers=0
control wrap_timestamp=1
run wrapped --width 320 --height 180 --fps 30 --frames 30
control wrap_timestamp=0

# A stream that breaks off inside the driver, and one that falls silent.
begin fatal --width 320 --height 180 --fps 30
wait_for frame_number 5 20
control inject_fatal_streaming_error=1
wait_for '"lost"' 1 20
pictures >fatal.before
wait_for frame_number $(($(cat fatal.before) + 10)) 20
end
begin silent --width 320 --height 180 --fps 30
wait_for frame_number 5 20
before=$(now_ms)
control percentage_of_dropped_buffers=100
wait_for '"lost"' 1 20
echo $(($(now_ms) - before)) >silent.lost_ms
control percentage_of_dropped_buffers=0
pictures >silent.before
wait_for frame_number $(($(cat silent.before) + 10)) 20
end

# Unplugged, and plugged in again under another number: the shell keeps the old one taken.
unplug() {
    local before used
    wait_for frame_number 10 20
    exec 9<"$1"
    before=$(now_ms)
    echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind
    echo $(($(now_ms) - before)) >"$running.unbind_ms"
    wait_for '"lost"' 1 20
    echo $(($(now_ms) - before)) >"$running.lost_ms"
    used=$(ticks)
    sleep 4
    echo $(($(ticks) - used)) >"$running.idle_ticks"
    cameras_open >"$running.open_while_gone"
    pictures >"$running.before"
    before=$(now_ms)
    echo vivid.0 >/sys/bus/platform/drivers/vivid/bind
    ls /dev | grep '^video' >"$running.nodes"
    wait_for frame_number $(($(cat "$running.before") + 1)) 20
    echo $(($(now_ms) - before)) >"$running.back_ms"
    wait_for frame_number $(($(cat "$running.before") + 20)) 20
    ls -l "/proc/$pid/fd" | grep -o '/dev/video.*' >"$running.open_after"
    end
    exec 9<&-
}
# Small pictures: what waits to be written would be counted as a delay.
begin unplugged --width 320 --height 180 --fps 30
unplug /dev/video0
begin unplugged_nokhwa --camera platform:vivid-000/vivid --width 640 --height 480 --fps 15 --backend nokhwa
unplug "$(cat unplugged.open_after)"

step results
stty -F /dev/ttyS1 raw 115200 2>/dev/null
tar -czf - . >/dev/ttyS1
sync
step end
poweroff -f
