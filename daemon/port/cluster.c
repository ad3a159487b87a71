/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/port/cluster.h"

#include <errno.h>
#include <stdlib.h>

#include "config.h"
#include "daemon/port/cluster_none.h"
#include "daemon/port/log.h"

#ifdef HAVE_COROSYNC
#include "daemon/port/cpg.h"
#include "daemon/port/nodelist.h"
#include "daemon/port/quorum.h"
#endif
#ifdef HAVE_DLM
#include "daemon/port/dlm.h"
#endif

struct cluster {
	struct cluster_none *none;
#ifdef HAVE_COROSYNC
	struct cpg_port *cpg;
	struct quorum_port *quorum;
#endif
#ifdef HAVE_DLM
	struct dlm_port *dlm;
#endif
};

int cluster_node_id(bool corosync, node_id_t *ret_node)
{
	if (!corosync) {
		*ret_node = CLUSTER_NONE_NODE;
		return 0;
	}
#ifdef HAVE_COROSYNC
	return cpg_port_node_id(ret_node);
#else
	return -EOPNOTSUPP;
#endif
}

unsigned cluster_configured(bool corosync, node_id_t *ret_nodes, unsigned room)
{
#ifdef HAVE_COROSYNC
	if (corosync)
		return nodelist_read(ret_nodes, room);
#endif
	(void)corosync;
	(void)ret_nodes;
	(void)room;
	return 0;
}

#ifdef HAVE_COROSYNC
static int corosync_open(struct cluster *cluster, const struct port_config *config,
			 const struct cluster_config *cluster_config)
{
	int error = 0;

	if (cluster_config->fencing == FENCING_DLM) {
#ifdef HAVE_DLM
		error = dlm_port_open(config, cluster_config->node, cluster_config->boot_id,
				      cluster_config->refused_fn, &cluster->dlm);
#else
		log_write(LOG_ERR, "--fencing=dlm is not built in; choose --fencing=none");
		error = -EOPNOTSUPP;
#endif
	}
	if (error == 0)
		error = quorum_port_open(config, &cluster->quorum);
	if (error == 0)
		error =
		    cpg_port_open(config, cluster_config->node, cluster_config->refused_fn, &cluster->cpg);
	return error;
}
#endif

int cluster_open(const struct port_config *config, const struct cluster_config *cluster_config,
		 struct cluster **ret_cluster)
{
	struct cluster *cluster = port_alloc(sizeof(*cluster));
	int error = -EOPNOTSUPP;

	if (!cluster_config->corosync)
		error = cluster_none_open(config, &cluster->none);
#ifdef HAVE_COROSYNC
	else
		error = corosync_open(cluster, config, cluster_config);
#endif
	if (error != 0) {
		cluster_close(cluster);
		return error;
	}
	*ret_cluster = cluster;
	return 0;
}

void cluster_perform(struct cluster *cluster, const struct effect *effect)
{
	if (effect->type == EFFECT_SEND && cluster->none != NULL)
		cluster_none_send(cluster->none, effect);
#ifdef HAVE_COROSYNC
	else if (effect->type == EFFECT_SEND)
		cpg_port_send(cluster->cpg, effect);
#endif
#ifdef HAVE_DLM
	/* Without --fencing=dlm the core asks for nothing. */
	if (effect->type != EFFECT_SEND && cluster->dlm != NULL)
		dlm_port_perform(cluster->dlm, effect);
#endif
}

const char *cluster_fencing_trouble(struct cluster *cluster)
{
#ifdef HAVE_DLM
	if (cluster->dlm != NULL)
		return dlm_port_trouble(cluster->dlm);
#else
	(void)cluster;
#endif
	return NULL;
}

void cluster_close(struct cluster *cluster)
{
	if (cluster == NULL)
		return;
	cluster_none_close(cluster->none);
#ifdef HAVE_COROSYNC
	cpg_port_close(cluster->cpg);
	quorum_port_close(cluster->quorum);
#endif
#ifdef HAVE_DLM
	dlm_port_close(cluster->dlm);
#endif
	free(cluster);
}
