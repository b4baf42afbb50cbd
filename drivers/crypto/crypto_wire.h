/*
 * What goes over the wire: "Crypto Device / Device Operation". All requests are a header, the parameters of fixed length (here), and behind
 * them those of any length.
 */
#ifndef CRYPTO_WIRE_H
#define CRYPTO_WIRE_H

#include <base/endian.h>

enum {
	VIRTIO_CRYPTO_F_REVISION_1 = 0,
	VIRTIO_CRYPTO_F_CIPHER_STATELESS_MODE = 1, /* and those of the other services behind it, in their order */
};

struct virtio_crypto_config {
	le32 status, max_dataqueues, crypto_services;
	le32 cipher_algo_l, cipher_algo_h, hash_algo, mac_algo_l, mac_algo_h, aead_algo;
	le32 max_cipher_key_len, max_auth_key_len, akcipher_algo;
	le64 max_size;
};
_Static_assert(sizeof(struct virtio_crypto_config) == 56, "virtio_crypto_config");
enum { S_HW_READY = 1 };

enum {
	STATUS_OK,
	STATUS_ERR,
	STATUS_BADMSG,
	STATUS_NOTSUPP,
	STATUS_INVSESS,
	STATUS_NOSPC,
	STATUS_KEY_REJECTED,
	STATUS_NONE = 0xff
};

#define OPCODE(service, op) ((uint32_t)(service) << 8 | (op))
enum { OP_CREATE_SESSION = 2, OP_CREATE_AKCIPHER_SESSION = 4 }; /* to destroy it: one more */
enum { OP_ENCRYPT = 1, OP_DECRYPT = 2 };
enum { SYM_OP_CIPHER = 1, SYM_OP_ALGORITHM_CHAINING = 2 };
enum { HASH_MODE_PLAIN = 1, HASH_MODE_AUTH = 2 };
enum { KEY_TYPE_PUBLIC = 1, KEY_TYPE_PRIVATE = 2 };
enum { FLAG_SESSION_MODE = 1 };

/* ---- the controlq ---- */

struct virtio_crypto_mac_create_session_flf {
	le32 algo, hash_result_len, auth_key_len, padding; /* of a hash: the first two */
};

struct virtio_crypto_cipher_session_flf {
	le32 algo, key_len, op, padding;
};

struct virtio_crypto_alg_chain_session_flf {
	le32 alg_chain_order, hash_mode;
	struct virtio_crypto_cipher_session_flf cipher_hdr;
	struct virtio_crypto_mac_create_session_flf algo_flf;
	le32 aad_len, padding;
};

struct virtio_crypto_sym_create_session_flf {
	union {
		struct virtio_crypto_cipher_session_flf cipher;
		struct virtio_crypto_alg_chain_session_flf chain;
	};
	le32 op_type, padding;
};

struct virtio_crypto_aead_create_session_flf {
	le32 algo, key_len, tag_len, aad_len, op, padding;
};

struct virtio_crypto_akcipher_create_session_flf {
	le32 algo, key_type, key_len;
	le32 para[11]; /* RSA: padding_algo, hash_algo; ECDSA: curve_id */
};

struct virtio_crypto_op_ctrl_req {
	le32 opcode, algo, flag, reserved;
	union {
		struct virtio_crypto_sym_create_session_flf sym;
		struct virtio_crypto_mac_create_session_flf mac;
		struct virtio_crypto_aead_create_session_flf aead;
		struct virtio_crypto_akcipher_create_session_flf akcipher;
		le64 session_id;
	};
};
#define CTRL_HEADER 16u
#define CTRL_LEGACY 56u /* without REVISION_1: what all parameters are padded to */
_Static_assert(sizeof(struct virtio_crypto_op_ctrl_req) == CTRL_HEADER + CTRL_LEGACY, "virtio_crypto_op_ctrl_req");
_Static_assert(sizeof(struct virtio_crypto_sym_create_session_flf) == 56, "virtio_crypto_sym_create_session_flf");
_Static_assert(sizeof(struct virtio_crypto_akcipher_create_session_flf) == 56, "virtio_crypto_akcipher_create_session_flf");

struct virtio_crypto_create_session_input {
	le64 session_id;
	le32 status, padding;
};
_Static_assert(sizeof(struct virtio_crypto_create_session_input) == 16, "virtio_crypto_create_session_input");

/* ---- the dataqs ---- */

struct virtio_crypto_hash_data_flf { /* and of a MAC */
	le32 src_data_len, hash_result_len;
};

struct virtio_crypto_cipher_data_flf {
	le32 iv_len, src_data_len, dst_data_len, padding;
};

struct virtio_crypto_alg_chain_data_flf {
	le32 iv_len, src_data_len, dst_data_len, cipher_start_src_offset, len_to_cipher, hash_start_src_offset, len_to_hash,
		aad_len, hash_result_len, reserved;
};

struct virtio_crypto_sym_data_flf {
	union {
		struct virtio_crypto_cipher_data_flf cipher;
		struct virtio_crypto_alg_chain_data_flf chain;
	};
	le32 op_type, padding;
};
_Static_assert(sizeof(struct virtio_crypto_sym_data_flf) == 48, "virtio_crypto_sym_data_flf");

struct virtio_crypto_aead_data_flf {
	le32 iv_len, aad_len, src_data_len, dst_data_len, tag_len, reserved;
};

struct virtio_crypto_akcipher_data_flf {
	le32 src_data_len, dst_data_len;
};

/* Where the stateless mode is negotiated for a service, its requests have these, whichever mode they use. */

struct sess_cipher {
	le32 algo, key_len, op;
};

struct sess_chain {
	le32 alg_chain_order, aad_len;
	struct sess_cipher cipher;
	le32 hash_algo, auth_key_len, hash_mode;
};

struct virtio_crypto_sym_data_flf_stateless {
	union {
		struct {
			struct sess_cipher sess_para;
			le32 iv_len, src_data_len, dst_data_len;
		} cipher;
		struct {
			struct sess_chain sess_para;
			struct virtio_crypto_alg_chain_data_flf data;
		} chain;
	};
	le32 op_type;
};
_Static_assert(sizeof(struct virtio_crypto_sym_data_flf_stateless) == 76, "virtio_crypto_sym_data_flf_stateless");

struct virtio_crypto_hash_data_flf_stateless {
	le32 algo, src_data_len, hash_result_len, reserved;
};

struct virtio_crypto_mac_data_flf_stateless {
	le32 algo, auth_key_len, src_data_len, hash_result_len;
};

struct virtio_crypto_aead_data_flf_stateless {
	struct sess_cipher sess_para;
	le32 iv_len, tag_len, aad_len, src_data_len, dst_data_len;
};
_Static_assert(sizeof(struct virtio_crypto_aead_data_flf_stateless) == 32, "virtio_crypto_aead_data_flf_stateless");

struct virtio_crypto_akcipher_data_flf_stateless {
	le32 algo, key_type, key_len, para[2], src_data_len, dst_data_len;
};
_Static_assert(sizeof(struct virtio_crypto_akcipher_data_flf_stateless) == 28, "virtio_crypto_akcipher_data_flf_stateless");

struct virtio_crypto_op_data_req {
	le32 opcode, algo;
	le64 session_id;
	le32 flag, padding;
	union {
		struct virtio_crypto_sym_data_flf sym;
		struct virtio_crypto_hash_data_flf hash;
		struct virtio_crypto_aead_data_flf aead;
		struct virtio_crypto_akcipher_data_flf akcipher;
		struct virtio_crypto_sym_data_flf_stateless sym_stateless;
		struct virtio_crypto_hash_data_flf_stateless hash_stateless;
		struct virtio_crypto_mac_data_flf_stateless mac_stateless;
		struct virtio_crypto_aead_data_flf_stateless aead_stateless;
		struct virtio_crypto_akcipher_data_flf_stateless akcipher_stateless;
	};
};
#define DATA_HEADER 24u
#define DATA_LEGACY 48u
_Static_assert(offsetof(struct virtio_crypto_op_data_req, sym) == DATA_HEADER, "virtio_crypto_op_header");

#endif
