/* The filter on libmosquitto: what `isotherm bench` measures ours against.
 *
 * filter HOST PORT INPUT_TOPIC OUTPUT_TOPIC THRESHOLD [CA_FILE]
 *
 * A reading above the threshold goes on as it came, QoS 1 on both sides. The library acknowledges an input when the
 * callback returns; nothing is kept on disk. The one field that matters is read from the protobuf by hand, which is
 * less work than a protobuf library would do.
 *
 * cc -O2 -o filter filter.c -lmosquitto
 */
#include <mosquitto.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *input, *output;
static float threshold;

static int varint(const uint8_t **at, const uint8_t *end, uint64_t *value) {
    *value = 0;
    for (int shift = 0; shift < 64 && *at < end; shift += 7) {
        uint8_t byte = *(*at)++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) return 1;
    }
    return 0;
}

/* Field 1, a float; every other field is skipped but checked for its length. */
static int temperature(const uint8_t *at, size_t length, float *value) {
    const uint8_t *end = at + length;
    uint64_t key, skip;
    *value = 0;
    while (at < end) {
        if (!varint(&at, end, &key)) return 0;
        switch (key & 7) {
        case 0:
            if (!varint(&at, end, &skip)) return 0;
            break;
        case 2:
            if (!varint(&at, end, &skip) || skip > (uint64_t)(end - at)) return 0;
            at += skip;
            break;
        case 5:
            if (end - at < 4) return 0;
            if (key >> 3 == 1) memcpy(value, at, 4);
            at += 4;
            break;
        default:
            return 0;
        }
    }
    return 1;
}

static void on_connect(struct mosquitto *client, void *unused, int code) {
    (void)unused;
    if (code != 0) exit(1);
    mosquitto_subscribe(client, NULL, input, 1);
}

static void on_message(struct mosquitto *client, void *unused, const struct mosquitto_message *message) {
    (void)unused;
    float celsius;
    if (temperature(message->payload, (size_t)message->payloadlen, &celsius) && celsius > threshold)
        mosquitto_publish(client, NULL, output, message->payloadlen, message->payload, 1, false);
}

int main(int count, char **words) {
    if (count < 6) return 2;
    input = words[3], output = words[4], threshold = strtof(words[5], NULL);
    mosquitto_lib_init();
    struct mosquitto *client = mosquitto_new("bench-c", true, NULL);
    mosquitto_int_option(client, MOSQ_OPT_TCP_NODELAY, 1);
    mosquitto_max_inflight_messages_set(client, 0);
    if (count > 6) mosquitto_tls_set(client, words[6], NULL, NULL, NULL, NULL);
    mosquitto_connect_callback_set(client, on_connect);
    mosquitto_message_callback_set(client, on_message);
    if (mosquitto_connect(client, words[1], atoi(words[2]), 60) != MOSQ_ERR_SUCCESS) return 1;
    return mosquitto_loop_forever(client, -1, 1);
}
