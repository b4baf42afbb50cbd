/*
 * "SPI Controller Device": each transfer is one request. What the configuration does not offer is refused here already.
 */
#include <errno.h>

#include <base/endian.h>
#include <base/page.h>
#include <class/wire.h>
#include <virtio/ids.h>
#include <virtio/request.h>

/* "SPI Controller Device / Device configuration layout" */
struct virtio_spi_config {
	uint8_t cs_max_number, cs_change_supported, tx_nbits_supported, rx_nbits_supported;
	le32 bits_per_word_mask, mode_func_supported, max_freq_hz, max_word_delay_ns, max_cs_setup_ns, max_cs_hold_ns,
		max_cs_inactive_ns;
};
_Static_assert(sizeof(struct virtio_spi_config) == 32, "virtio_spi_config");
#define BYTES offsetof(struct virtio_spi_config, bits_per_word_mask) /* of fields of one byte; the others have four */

/* "Device Operation: Request Queue" */
struct virtio_spi_transfer_head {
	uint8_t chip_select_id, bits_per_word, cs_change, tx_nbits, rx_nbits, reserved[3];
	le32 mode, freq, word_delay_ns, cs_setup_ns, cs_delay_hold_ns, cs_change_delay_inactive_ns;
};
_Static_assert(sizeof(struct virtio_spi_transfer_head) == 32, "virtio_spi_transfer_head");

enum { TRANS_OK = 0, PARAM_ERR = 1, RESULT_NOT_WRITTEN = 255 };

struct spi {
	struct spi_device device;
	struct virtio_device *vdev;
	struct virtio_requestq queue;
	struct virtio_spi_config config;
};

static bool lanes_offered(uint8_t offered, uint8_t lanes)
{
	return lanes <= 1 || ((lanes == 2 || lanes == 4 || lanes == 8) && offered & lanes >> 1);
}

/* A bit of mode and what has to be offered for it: CPHA and CPOL say of each value whether they take it. */
static bool mode_offered(uint32_t offered, uint32_t mode)
{
	uint32_t needs = (mode & SPI_CPHA ? 2u : 1u) | (mode & SPI_CPOL ? 8u : 4u) | (mode & SPI_CS_HIGH ? 16u : 0u) |
	                 (mode & SPI_LSB_FIRST ? 32u : 0u) | (mode & SPI_LOOP ? 64u : 0u);

	return mode < 2 * SPI_LOOP && (offered & needs) == needs;
}

static bool possible(const struct virtio_spi_config *config, const struct spi_transfer *transfer)
{
	uint32_t words = le32_to_cpu(config->bits_per_word_mask), hz = le32_to_cpu(config->max_freq_hz);

	return transfer->length && (transfer->out || transfer->in) && transfer->chip_select < config->cs_max_number &&
	       transfer->bits_per_word - 1u < 32 && (!words || words >> (transfer->bits_per_word - 1) & 1) &&
	       (!transfer->deselect || config->cs_change_supported) &&
	       lanes_offered(config->tx_nbits_supported, transfer->out_lanes) &&
	       lanes_offered(config->rx_nbits_supported, transfer->in_lanes) &&
	       mode_offered(le32_to_cpu(config->mode_func_supported), transfer->mode) && (!hz || transfer->hz <= hz) &&
	       transfer->word_delay_ns <= le32_to_cpu(config->max_word_delay_ns) &&
	       transfer->setup_ns <= le32_to_cpu(config->max_cs_setup_ns) &&
	       transfer->hold_ns <= le32_to_cpu(config->max_cs_hold_ns) &&
	       transfer->inactive_ns <= le32_to_cpu(config->max_cs_inactive_ns);
}

/* What a transfer has besides its data, in memory that the device reaches. */
struct wire {
	struct virtio_spi_transfer_head head;
	uint8_t result;
};

static int exchange(struct spi *spi, const struct spi_transfer *transfer, struct wire *wire)
{
	struct virtq_buf bufs[4] = {{&wire->head, sizeof(wire->head)}};
	struct virtio_request request = {.bufs = bufs, .nreadable = 1, .nwritable = 1};
	int error;

	/* "Device Operation": head, what goes out, what comes in, result, in that order; both of one length */
	if (transfer->out)
		bufs[request.nreadable++] = (struct virtq_buf){(void *)(uintptr_t)transfer->out, transfer->length};
	if (transfer->in) {
		bufs[request.nreadable] = (struct virtq_buf){transfer->in, transfer->length};
		request.nwritable = 2;
	}
	bufs[request.nreadable + request.nwritable - 1] = (struct virtq_buf){&wire->result, 1};
	error = virtio_request_call(&spi->queue, &request, VIRTIO_ANSWER_NS);
	if (error)
		return error;
	if (READ_ONCE(wire->result) == PARAM_ERR)
		return -EINVAL;
	return READ_ONCE(wire->result) == TRANS_OK && request.written > (transfer->in ? transfer->length : 0) ? 0 : -EIO;
}

static int transfer(struct spi_device *device, const struct spi_transfer *transfer)
{
	struct spi *spi = container_of(device, struct spi, device);
	struct wire *wire;
	int error;

	if (!possible(&spi->config, transfer))
		return -EINVAL;
	wire = page_alloc(sizeof(*wire), PAGE_SIZE);
	if (!wire)
		return -ENOMEM;
	wire->result = RESULT_NOT_WRITTEN;
	wire->head = (struct virtio_spi_transfer_head){
		.chip_select_id = transfer->chip_select,
		.bits_per_word = transfer->bits_per_word,
		.cs_change = transfer->deselect,
		.tx_nbits = transfer->out_lanes,
		.rx_nbits = transfer->in_lanes,
		.mode = cpu_to_le32(transfer->mode),
		.freq = cpu_to_le32(transfer->hz),
		.word_delay_ns = cpu_to_le32(transfer->word_delay_ns),
		.cs_setup_ns = cpu_to_le32(transfer->setup_ns),
		.cs_delay_hold_ns = cpu_to_le32(transfer->hold_ns),
		.cs_change_delay_inactive_ns = cpu_to_le32(transfer->inactive_ns),
	};
	error = exchange(spi, transfer, wire);
	page_free(wire, sizeof(*wire));
	return error;
}

static int probe(struct virtio_device *vdev)
{
	struct spi *spi = page_alloc(sizeof(*spi), PAGE_SIZE);

	if (!spi)
		return -ENOMEM;
	virtio_requestq_init(&spi->queue);
	spi->vdev = vdev;
	spi->device.transfer = transfer;
	vdev->driver_data = spi;
	vdev->node = &spi->device.node;
	return 0;
}

static int start(struct virtio_device *vdev)
{
	struct spi *spi = vdev->driver_data;
	struct virtq_spec spec = virtio_requestq_spec(&spi->queue, "requestq", 4);
	char *config = (char *)&spi->config;
	int error = virtio_config_read(vdev, 0, config, 1);

	for (uint32_t at = 1; !error && at < sizeof(spi->config); at += at < BYTES ? 1 : 4)
		error = virtio_config_read(vdev, at, config + at, at < BYTES ? 1 : 4);
	if (error)
		return virtio_refuse(vdev, error, "its configuration cannot be read");
	spi->device.chip_selects = spi->config.cs_max_number;
	return virtio_service_start(vdev, 1, &spec);
}

static void remove(struct virtio_device *vdev)
{
	struct spi *spi = vdev->driver_data;

	virtio_requestq_end(&spi->queue);
	page_free(spi, sizeof(*spi));
}

static const struct virtio_driver spi_driver = {
	.name = "virtio-spi",
	.instance = "spi",
	.type = VIRTIO_ID_SPI,
	.devices = &spi_devices,
	.config_size = sizeof(struct virtio_spi_config),
	.probe = probe,
	.start = start,
	.stop = virtio_service_stop,
	.remove = remove,
	.queue_drain = virtio_service_drain,
	.queue_refill = virtio_service_refill,
};
VIRTIO_DRIVER(spi_driver);
