"""Snowplow's atomic events: enriched TSV, with or without a header line."""

from mctlib.sources.readers.reader import Reader, Selects
from mctlib.sources.staging import Stage

# The order of the enriched event's columns, whose files have no header line.
NAMES = """
    app_id platform etl_tstamp collector_tstamp dvce_created_tstamp event event_id txn_id
    name_tracker v_tracker v_collector v_etl user_id user_ipaddress user_fingerprint
    domain_userid domain_sessionidx network_userid geo_country geo_region geo_city geo_zipcode
    geo_latitude geo_longitude geo_region_name ip_isp ip_organization ip_domain ip_netspeed
    page_url page_title page_referrer page_urlscheme page_urlhost page_urlport page_urlpath
    page_urlquery page_urlfragment refr_urlscheme refr_urlhost refr_urlport refr_urlpath
    refr_urlquery refr_urlfragment refr_medium refr_source refr_term mkt_medium mkt_source
    mkt_term mkt_content mkt_campaign contexts se_category se_action se_label se_property
    se_value unstruct_event tr_orderid tr_affiliation tr_total tr_tax tr_shipping tr_city
    tr_state tr_country ti_orderid ti_sku ti_name ti_category ti_price ti_quantity
    pp_xoffset_min pp_xoffset_max pp_yoffset_min pp_yoffset_max useragent br_name br_family
    br_version br_type br_renderengine br_lang br_features_pdf br_features_flash
    br_features_java br_features_director br_features_quicktime br_features_realplayer
    br_features_windowsmedia br_features_gears br_features_silverlight br_cookies br_colordepth
    br_viewwidth br_viewheight os_name os_family os_manufacturer os_timezone dvce_type
    dvce_ismobile dvce_screenwidth dvce_screenheight doc_charset doc_width doc_height
    tr_currency tr_total_base tr_tax_base tr_shipping_base ti_currency ti_price_base
    base_currency geo_timezone mkt_clickid mkt_network etl_tags dvce_sent_tstamp
    refr_domain_userid refr_dvce_tstamp derived_contexts domain_sessionid derived_tstamp
    event_vendor event_name event_format event_version event_fingerprint true_tstamp
"""
COLUMNS = tuple(NAMES.split())


def read(table: str, events: Stage) -> Selects:
    """A structured event is named by its action; a self-describing one has its properties inside.

    These stand in unstruct_event.
    """
    own = "NULL::JSON"
    if "unstruct_event" in events.headers:
        own = "json_extract(as_object(unstruct_event), '$.data.data')"
    e = events.open(f"coalesce({own}, '{{}}'::JSON)", "unstruct_event")
    name = e.get("event_name")
    action = f"coalesce({e.get('se_action')}, {name})"
    where = e.get("platform")
    system = f"coalesce({e.get('os_family', 'os_name')}, 'mob')"
    select = e.select(
        table,
        event=f"CASE WHEN {name} = 'event' THEN {action} ELSE {name} END",
        timestamp=e.get("derived_tstamp", "collector_tstamp"),
        received_at=e.get("collector_tstamp"),
        platform=f"platform_of(CASE WHEN {where} = 'mob' THEN {system} ELSE {where} END)",
        session_id=e.get("domain_sessionid"),
        anonymous_id=e.get("domain_userid", "network_userid"),
        utm_source=e.get("utm_source", "mkt_source"),
        utm_medium=e.get("utm_medium", "mkt_medium"),
        utm_campaign=e.get("utm_campaign", "mkt_campaign"),
    )
    return {table: select}


READER = Reader(read, {"events": ("event_id", "collector_tstamp", "event_name", "domain_userid")})
